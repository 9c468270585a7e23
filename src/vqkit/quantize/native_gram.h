// Residual searches without residuals: the codes of all stages from products of whole numbers with the vector itself, see
// native_gram_table.h. For stages of few codes before one of many, as IVQ bottom-up has them.
//
// Early stages are scored as in native.cpp, with a vector in each lane of a register; the last one, of TILE codes, with a code in each
// lane, so that what the codes chosen before take from its scores are rows of a table.

#pragma once

#include "native_gram_block.h"

namespace {

#ifdef PRESELECTS

// Searches blocks of vectors; what it needs is kept from block to block. R registers hold the 8-bit numbers of a vector.
template <int R> class GramSearch {
 public:
  GramSearch(const Gram &gram, const float *mean) : gram_(gram), block_(gram.dim, mean) {}

  // Codes of a block as (columns, BLOCK); a bit for each vector that is in doubt, whose codes are not to be used.
  // `following` is the next block, or this one.
  uint64_t search(const float *x, const float *following) {
    alignas(64) uint64_t left[BLOCK];
    block_.take(x);
    doubt_ = 0;
    for (int k = 0; k < WIDES; ++k) {
      const __m512 error = _mm512_load_ps(block_.error + k * WIDE), norm = _mm512_load_ps(block_.norm + k * WIDE);
      _mm512_store_ps(apart_ + k * WIDE, apart(gram_.last.bound, error, norm));
    }
    for (auto &index : composed_) std::fill_n(index, BLOCK, 0);
    const int64_t pieces = gram_.early.size();
    for (int64_t p = 0; p < pieces; p += gram_.early[p].alike)
      if (gram_.early[p].alike == 1) early_pieces<1>(p);
      else early_pieces<MANY_ALIKE>(p);
    for (int64_t v = 0; v < BLOCK; v += TOGETHER) last_scores(v, left, following + v * gram_.dim);
    settle(left);
    return doubt_;
  }

  const int32_t *found() const { return found_[0]; }

  // Whether all vectors so far were finite, and not so large that their sums may not be.
  bool finite() const { return block_.finite; }

 private:
  static constexpr int TOGETHER = 6;  // vectors whose 64 sums stay in registers
  static constexpr int64_t MOST_LEFT = 16;  // codes of a vector that are worth being scored again
  static constexpr int64_t STRIDE = WholeBlock<R>::STRIDE;

  static __m512 apart(const Bound &bound, __m512 error, __m512 norm) {
    const __m512 sum = _mm512_fmadd_ps(norm, _mm512_set1_ps(bound.of_norm), _mm512_set1_ps(bound.constant));
    return _mm512_fmadd_ps(error, _mm512_set1_ps(bound.of_error), sum);
  }

  // How far apart scores by 16-bit numbers must be, of register k of vectors; `of_error` is in units of s.
  __m512 apart(const Bound &bound, int k) const {
    return apart(bound, _mm512_load_ps(block_.scale + k * WIDE), _mm512_load_ps(block_.norm + k * WIDE));
  }

  struct Best {
    __m512 score[WIDES], second[WIDES];
    __m512i code[WIDES];
  };

  // C codes from the one after `first` of each of P pieces of equal width.
  template <int P, int C> __attribute__((always_inline)) inline void early_codes(const Early *piece, int64_t first, Best *best) const {
    __m512i sum[P][C][WIDES];
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 7
      for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
        for (int k = 0; k < WIDES; ++k) sum[p][c][k] = _mm512_setzero_si512();
    const int32_t *x[P], *e[P];
    for (int p = 0; p < P; ++p) x[p] = block_.pairs[piece[p].begin / 2], e[p] = piece[p].pairs.data() + first;
    for (int64_t d = 0; d < piece->width / 2; ++d)
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        __m512i a[WIDES];
#pragma GCC unroll 3
        for (int k = 0; k < WIDES; ++k) a[k] = _mm512_load_si512(x[p] + d * BLOCK + k * WIDE);
#pragma GCC unroll 7
        for (int c = 0; c < C; ++c) {
          const __m512i w = _mm512_set1_epi32(e[p][d * piece->others + c]);
#pragma GCC unroll 3
          for (int k = 0; k < WIDES; ++k) sum[p][c][k] = pairs_added(sum[p][c][k], a[k], w);
        }
      }
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) {
        __m512 score[C];
#pragma GCC unroll 7
        for (int c = 0; c < C; ++c) {
          const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[p][c][k]), _mm512_set1_ps(piece[p].scale[first + c]));
          score[c] = _mm512_fmadd_ps(product, _mm512_load_ps(block_.scale + k * WIDE), _mm512_set1_ps(piece[p].bias[first + c]));
        }
        for (const Early::Before &before : piece[p].before) {
          __m512i chosen = _mm512_load_si512(found_[before.first] + k * WIDE);
          for (int64_t b = before.first + 1; b < before.end; ++b)
            chosen = composed(chosen, gram_.early[b].codes, _mm512_load_si512(found_[b] + k * WIDE));
#pragma GCC unroll 7
          for (int c = 0; c < C; ++c)
            score[c] = _mm512_sub_ps(score[c], _mm512_permutexvar_ps(chosen, _mm512_load_ps(&before.product[(first + c) * WIDE])));
        }
#pragma GCC unroll 7
        for (int c = 0; c < C; ++c) {
          const __mmask16 better = _mm512_cmp_ps_mask(score[c], best[p].score[k], _CMP_GT_OQ);
          best[p].second[k] = _mm512_max_ps(best[p].second[k], _mm512_min_ps(best[p].score[k], score[c]));
          best[p].score[k] = _mm512_max_ps(best[p].score[k], score[c]);
          best[p].code[k] = _mm512_mask_mov_epi32(best[p].code[k], better, _mm512_set1_epi32(int32_t(first + c + 1)));
        }
      }
  }

  // Codes of P pieces of equal size, of one stage.
  template <int P> __attribute__((noinline)) void early_pieces(int64_t column) {
    const Early *piece = &gram_.early[column];
    Best best[P];
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) {
        best[p].score[k] = _mm512_setzero_ps(), best[p].code[k] = _mm512_setzero_si512();  // code 0
        best[p].second[k] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
      }
    int64_t c = 0;
    if constexpr (P == 1) {
      for (; c + 7 <= piece->others; c += 7) early_codes<1, 7>(piece, c, best);
      for (; c + 3 <= piece->others; c += 3) early_codes<1, 3>(piece, c, best);
    }
    for (; c < piece->others; ++c) early_codes<P, 1>(piece, c, best);
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) {
        note_doubt(k, ~uint64_t(0), best[p].score[k], best[p].second[k], apart(piece[p].bound, k));
        _mm512_store_si512(found_[column + p] + k * WIDE, best[p].code[k]);
        int32_t *index = composed_[piece[p].stage] + k * WIDE;
        _mm512_store_si512(index, composed(_mm512_load_si512(index), piece[p].codes, best[p].code[k]));
      }
  }

  static __m512i composed(__m512i before, int64_t codes, __m512i code) {
    return _mm512_add_epi32(_mm512_mullo_epi32(before, _mm512_set1_epi32(int32_t(codes))), code);
  }

  // Register k of vectors: those of a set whose best score is not so much above the second, or may be NaN.
  void note_doubt(int k, uint64_t of, __m512 best, __m512 second, __m512 least) {
    doubt_ |= of & uint64_t(_mm512_cmp_ps_mask(_mm512_sub_ps(best, second), least, _CMP_NGT_UQ)) << k * WIDE;
  }

  // For TOGETHER vectors a bit for each code of the last stage that may be the nearest.
  __attribute__((noinline)) void last_scores(int64_t first, uint64_t *left, const float *ahead) {
    constexpr int N = TILE / WIDE;
    const Last &last = gram_.last;
    __m512i sum[TOGETHER][N];
#pragma GCC unroll 6
    for (int v = 0; v < TOGETHER; ++v)
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[v][j] = _mm512_load_si512(last.start.data() + WIDE * j);
    const int32_t *w = last.quads.data();
    for (int64_t i = 0; i < gram_.quads; ++i, w += TILE) {
      __builtin_prefetch(ahead + i * TOGETHER * QUAD, 0, 2);  // most of the lines of the rows that come next
      __m512i e[N];
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) e[j] = _mm512_load_si512(w + WIDE * j);
      // packing has put four dimensions of each of four registers of floats side by side
      const uint8_t *row = block_.bytes[first] + i / WIDE * BYTES + (i % 4 * 4 + i % WIDE / 4) * QUAD;
#pragma GCC unroll 6
      for (int v = 0; v < TOGETHER; ++v) {
        int32_t quad;
        std::memcpy(&quad, row + v * STRIDE, sizeof quad);
        const __m512i x = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
        for (int j = 0; j < N; ++j) sum[v][j] = products_added(sum[v][j], x, e[j]);
      }
    }
    const float *const scales = last.scale.data(), *product[MOST_EARLY];
    const int64_t early = last.product.size();
    for (int64_t s = 0; s < early; ++s) product[s] = last.product[s].data();
#pragma GCC unroll 6
    for (int v = 0; v < TOGETHER; ++v) {
      const __m512 scale = _mm512_set1_ps(128 * block_.scale[first + v]);
      __m512 score[N];
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) score[j] = _mm512_load_ps(product[0] + composed_[0][first + v] * TILE + WIDE * j);
      for (int64_t s = 1; s < early; ++s) {
        const float *row = product[s] + composed_[s][first + v] * TILE;
#pragma GCC unroll 4
        for (int j = 0; j < N; ++j) score[j] = _mm512_add_ps(score[j], _mm512_load_ps(row + WIDE * j));
      }
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) {
        _mm512_store_ps(taken_[first + v] + WIDE * j, score[j]);
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[v][j]), _mm512_load_ps(scales + WIDE * j));
        score[j] = _mm512_fmsub_ps(product, scale, score[j]);
      }
      const __m512 best = _mm512_max_ps(_mm512_max_ps(score[0], score[1]), _mm512_max_ps(score[2], score[3]));
      const __m512 limit = _mm512_set1_ps(_mm512_reduce_max_ps(best) - apart_[first + v]);
      const auto reached = [&](int j) { return _mm512_cmp_ps_mask(score[j], limit, _CMP_NLT_UQ); };
      left[first + v] = _mm512_kunpackd(_mm512_kunpackw(reached(3), reached(2)), _mm512_kunpackw(reached(1), reached(0)));
    }
  }

  // The best of the codes left of the last stage, by scores of 16-bit numbers where there are several.
  __attribute__((noinline)) void settle(const uint64_t *left) {
    int32_t *found = found_[gram_.early.size()];
    uint64_t several = 0;
    for (int64_t v = 0; v < BLOCK; ++v) {
      found[v] = __builtin_ctzll(left[v] | uint64_t(1) << 63);
      several |= uint64_t((left[v] & (left[v] - 1)) != 0) << v;
    }
    int64_t pairs = 0;
    for (uint64_t rest = several & ~doubt_; rest; rest &= rest - 1) {
      const int64_t v = __builtin_ctzll(rest);
      uint64_t codes = left[v];
      if (__builtin_popcountll(codes) > MOST_LEFT) { doubt_ |= uint64_t(1) << v; continue; }
      do  // how many there are nobody can predict, so three are written anyway
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) {
          vector_[pairs] = int32_t(v), code_[pairs] = __builtin_ctzll(codes | uint64_t(1) << 63);
          pairs += codes != 0, codes &= codes - 1;
        }
      while (codes);
    }
    alignas(64) float best[BLOCK], second[BLOCK], score[WIDE];
    for (int64_t v = 0; v < BLOCK; ++v) best[v] = second[v] = -std::numeric_limits<float>::infinity();
    for (int64_t start = 0; start < pairs; start += WIDE) {
      const int64_t count = std::min<int64_t>(WIDE, pairs - start);
      _mm512_store_ps(score, scores_of(start, count));
      for (int64_t i = 0; i < count; ++i) {
        const int32_t v = vector_[start + i], old = found[v], own = code_[start + i];
        const __m128 a = _mm_load_ss(best + v), b = _mm_load_ss(score + i);
        const int32_t better = _mm_cvtsi128_si32(_mm_castps_si128(_mm_cmplt_ss(a, b)));  // no branch, as above
        found[v] = old ^ ((old ^ own) & better);
        _mm_store_ss(second + v, _mm_max_ss(_mm_load_ss(second + v), _mm_min_ss(a, b)));
        _mm_store_ss(best + v, _mm_max_ss(a, b));
      }
    }
    for (int k = 0; k < WIDES; ++k)
      note_doubt(k, several, _mm512_load_ps(best + k * WIDE), _mm512_load_ps(second + k * WIDE), apart(gram_.last.word_bound, k));
  }

  // Scores of `count` pairs from `start` on, by 16-bit numbers.
  __attribute__((always_inline)) inline __m512 scores_of(int64_t start, int64_t count) {
    const Last &last = gram_.last;
    __m512 sums[WIDE];
    for (int64_t i = 0; i < count; ++i) {
      const int16_t *x = block_.words[vector_[start + i]], *e = &last.words[code_[start + i] * STRIDE];
      __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 6
      for (int r = 0; r < 2 * R; ++r) sum = pairs_added(sum, _mm512_load_si512(x + 32 * r), _mm512_load_si512(e + 32 * r));
      sums[i] = _mm512_cvtepi32_ps(sum);  // before lanes are added: so 16-bit numbers of codes may be larger
    }
    for (int64_t i = count; i < WIDE; ++i) sums[i] = _mm512_setzero_ps();
    const __mmask16 here = __mmask16((1 << count) - 1);
    const __m512i v = _mm512_maskz_loadu_epi32(here, vector_ + start), code = _mm512_maskz_loadu_epi32(here, code_ + start);
    // first the codes' factors: their product with the vectors' may be smaller than any float
    const __m512 product = _mm512_mul_ps(summed(sums), _mm512_i32gather_ps(code, last.word_scale.data(), 4));
    const __m512i place = _mm512_add_epi32(_mm512_slli_epi32(v, 6), code);
    return _mm512_fmsub_ps(product, _mm512_i32gather_ps(v, block_.scale, 4), _mm512_i32gather_ps(place, taken_[0], 4));
  }

  const Gram &gram_;
  uint64_t doubt_ = 0;
  WholeBlock<R> block_;
  alignas(64) int32_t found_[MOST_COLUMNS][BLOCK], composed_[MOST_EARLY][BLOCK];
  alignas(64) float apart_[BLOCK];        // how far apart scores of the last stage by 8-bit numbers must be
  alignas(64) float taken_[BLOCK][TILE];  // from the scores of the last stage by the codes before
  int32_t vector_[BLOCK * MOST_LEFT + 2], code_[BLOCK * MOST_LEFT + 2];  // pairs that are scored by 16-bit numbers
};
#endif

}  // namespace
