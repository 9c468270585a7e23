// Residual searches without residuals: the codes of all stages from products of whole numbers with the vector itself, see
// native_gram_table.h. For stages of few codes before one of many, as IVQ bottom-up has them.
//
// Early stages are scored as in native.cpp, with a vector in each lane of a register; the last one, of TILE codes, with a code in each
// lane, so that what the codes chosen before take from its scores are rows of a table.

#pragma once

#include "native_gram_table.h"

namespace {

#ifdef PRESELECTS

// sum plus, in every lane, two products of x and e. For assembly see `products_added`.
inline __m512i pairs_added(__m512i sum, __m512i x, __m512i e) {
  asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(e));
  return sum;
}

// Of each of sixteen registers what `both` makes of all its lanes.
template <class Both> inline __m512 across(const __m512 *rows, Both both) {
  __m512 r[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    r[i] = both(_mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]), _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) r[i] = both(_mm512_shuffle_ps(r[2 * i], r[2 * i + 1], 0x44), _mm512_shuffle_ps(r[2 * i], r[2 * i + 1], 0xee));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    r[i] = both(_mm512_shuffle_f32x4(r[2 * i], r[2 * i + 1], 0x88), _mm512_shuffle_f32x4(r[2 * i], r[2 * i + 1], 0xdd));
  return both(_mm512_shuffle_f32x4(r[0], r[1], 0x88), _mm512_shuffle_f32x4(r[0], r[1], 0xdd));
}

inline __m512 summed(const __m512 *rows) {
  return across(rows, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
}

// Sixteen registers of sixteen numbers → columns.
inline void transpose_whole(__m512i r[WIDE]) {
  __m512i t[WIDE];
  for (int i = 0; i < WIDE; i += 2) t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  for (int i = 0; i < WIDE; i += 4)
    for (int j = 0; j < 2; ++j) {
      r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
      r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
    }
  for (int j = 0; j < 4; ++j) {  // r[4 i + j] has columns j, j + 4, … of rows 4 i … 4 i + 3
    const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88), t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88), t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  for (int i = 0; i < WIDE; ++i) r[i] = t[i];
}

// Searches blocks of vectors; what it needs is kept from block to block. R registers hold the 8-bit numbers of a vector.
template <int R> class GramSearch {
 public:
  static constexpr int FLOATS = 4 * R;  // registers that hold a vector's floats

  GramSearch(const Gram &gram, const float *mean) : gram_(gram) {
    std::copy_n(mean, gram.dim, mean_);
    for (int i = 0; i < 4; ++i)
      inside_[i] = __mmask16((1 << std::clamp<int64_t>(gram.dim - WIDE * (FLOATS - 4 + i), 0, WIDE)) - 1);
  }

  // Codes of a block as (columns, BLOCK); a bit for each vector that is in doubt, whose codes are not to be used.
  // `following` is the next block, or this one.
  uint64_t search(const float *x, const float *following) {
    alignas(64) uint64_t left[BLOCK];
    quantize(x);
    turn();
    doubt_ = 0;
    for (auto &index : composed_) std::fill_n(index, BLOCK, 0);
    const int64_t pieces = gram_.early.size();
    for (int64_t p = 0; p < pieces; p += gram_.early[p].alike)
      if (gram_.early[p].alike == 1) early_pieces<1>(p);
      else early_pieces<MANY_ALIKE>(p);
    for (int64_t v = 0; v < BLOCK; v += ROWS) last_scores(v, left, following + v * gram_.dim);
    settle(left);
    return doubt_;
  }

  const int32_t *found() const { return found_[0]; }

 private:
  static constexpr int ROWS = 6;  // vectors whose 64 sums stay in registers
  static constexpr int64_t MOST_LEFT = 16;  // codes of a vector that are worth being scored again
  static constexpr int64_t STRIDE = R * PLACES;

  // WIDE dimensions from 16·i on of a vector, less the mean.
  __attribute__((always_inline)) inline __m512 centred(const float *row, int i, const __m512 *mean) const {
    if (i < FLOATS - 4) return _mm512_sub_ps(_mm512_loadu_ps(row + WIDE * i), mean[i]);
    const __mmask16 inside = inside_[i - FLOATS + 4];
    return _mm512_maskz_sub_ps(inside, _mm512_maskz_loadu_ps(inside, row + WIDE * i), mean[i]);
  }

  // Rows as whole numbers of 16 and of 8 bits, and their norms.
  __attribute__((noinline)) void quantize(const float *x) {
    __m512 mean[FLOATS];
#pragma GCC unroll 12
    for (int i = 0; i < FLOATS; ++i) mean[i] = _mm512_load_ps(mean_ + WIDE * i);
    for (int64_t v = 0; v < BLOCK; v += WIDE, x += WIDE * gram_.dim) {
      __m512 rows[WIDE], missed[WIDE];
      // as whole numbers, whose order is that of absolute values, and NaN is above all
      for (int64_t i = 0; i < WIDE; ++i) {
        __m512i most = _mm512_setzero_si512();
#pragma GCC unroll 12
        for (int r = 0; r < FLOATS; ++r)
          most = _mm512_max_epu32(most, _mm512_castps_si512(_mm512_abs_ps(centred(x + i * gram_.dim, r, mean))));
        rows[i] = _mm512_castsi512_ps(most);
      }
      __m512 most = across(rows, [](__m512 a, __m512 b) {
        return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
      });
      // NaN where a vector is too small, too large or not finite: then all its bounds are, and it is in doubt
      const __mmask16 small = _mm512_cmp_ps_mask(most, _mm512_set1_ps(SMALL), _CMP_LT_OQ);
      const __mmask16 large = _mm512_cmp_ps_mask(most, _mm512_set1_ps(float(LARGE)), _CMP_GT_OQ);
      most = _mm512_mask_mov_ps(most, small | large, _mm512_set1_ps(NAN));
      alignas(64) float factor[WIDE];
      _mm512_store_ps(factor, _mm512_div_ps(_mm512_set1_ps(float(MOST_WHOLE)), most));
      for (int64_t i = 0; i < WIDE; ++i)
        quantize_row(x + i * gram_.dim, v + i, _mm512_set1_ps(factor[i]), mean, rows[i], missed[i]);
      const __m512 scale = _mm512_mul_ps(most, _mm512_set1_ps(1.0f / MOST_WHOLE));
      // half a step in each dimension, and a little for rounded factors
      const __m512 half = _mm512_set1_ps(0.51f * std::sqrt(float(gram_.dim)));
      const __m512 norm = _mm512_mul_ps(scale, _mm512_add_ps(_mm512_sqrt_ps(summed(rows)), half));
      const __m512 error = _mm512_mul_ps(scale, _mm512_add_ps(_mm512_sqrt_ps(summed(missed)), half));
      _mm512_store_ps(scale_ + v, scale), _mm512_store_ps(norm_ + v, norm);
      _mm512_store_ps(apart_ + v, apart(gram_.last.bound, error, norm));
      _mm512_store_ps(near_ + v, apart(gram_.last.word_bound, scale, norm));
    }
  }

  // `norm` and `missed` are sums of squares of the 16-bit numbers, and of what rounding these to 8 bits takes.
  __attribute__((always_inline)) inline void quantize_row(const float *row, int64_t v, __m512 factor, const __m512 *mean, __m512 &norm,
                                                          __m512 &missed) {
    __m512i squares = _mm512_setzero_si512(), rest = squares;
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      __m512i whole[4], high[2];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) whole[j] = _mm512_cvtps_epi32(_mm512_mul_ps(centred(row, 4 * r + j, mean), factor));
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m512i words = _mm512_packs_epi32(whole[2 * j], whole[2 * j + 1]);
        _mm512_store_si512(words_[v] + r * PLACES + 32 * j, words);
        high[j] = _mm512_srai_epi16(_mm512_add_epi16(words, _mm512_set1_epi16(64)), 7);
        const __m512i low = _mm512_sub_epi16(words, _mm512_slli_epi16(high[j], 7));
        squares = pairs_added(squares, words, words), rest = pairs_added(rest, low, low);
      }
      // + 128, for one factor of each product has no sign
      _mm512_store_si512(bytes_[v] + r * PLACES, _mm512_xor_si512(_mm512_packs_epi16(high[0], high[1]), _mm512_set1_epi8(-128)));
    }
    norm = _mm512_cvtepu32_ps(squares), missed = _mm512_cvtepu32_ps(rest);
  }

  static __m512 apart(const Bound &bound, __m512 error, __m512 norm) {
    const __m512 sum = _mm512_fmadd_ps(norm, _mm512_set1_ps(bound.of_norm), _mm512_set1_ps(bound.constant));
    return _mm512_fmadd_ps(error, _mm512_set1_ps(bound.of_error), sum);
  }

  // Pairs of 16-bit numbers as columns: (dim / 2, BLOCK). To pack has put dimensions 4 i … 4 i + 3 of 32 beside 16 + 4 i … 16 + 4 i + 3.
  __attribute__((noinline)) void turn() {
    for (int64_t v = 0; v < BLOCK; v += WIDE)
      for (int64_t d = 0; d < gram_.dim; d += 32) {
        __m512i tile[WIDE];
        for (int i = 0; i < WIDE; ++i) tile[i] = _mm512_load_si512(words_[v + i] + d);
        transpose_whole(tile);
        for (int i = 0; i < WIDE; ++i) _mm512_store_si512(pairs_[d / 2 + i % 4 / 2 * 8 + i / 4 * 2 + i % 2] + v, tile[i]);
      }
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
    for (int p = 0; p < P; ++p) x[p] = pairs_[piece[p].begin / 2], e[p] = piece[p].pairs.data() + first;
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
          score[c] = _mm512_fmadd_ps(product, _mm512_load_ps(scale_ + k * WIDE), _mm512_set1_ps(piece[p].bias[first + c]));
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
        const __m512 least = apart(piece[p].bound, _mm512_load_ps(scale_ + k * WIDE), _mm512_load_ps(norm_ + k * WIDE));
        note_doubt(k, ~uint64_t(0), best[p].score[k], best[p].second[k], least);
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

  // For ROWS vectors a bit for each code of the last stage that may be the nearest.
  __attribute__((noinline)) void last_scores(int64_t first, uint64_t *left, const float *ahead) {
    constexpr int N = TILE / WIDE;
    const Last &last = gram_.last;
    __m512i sum[ROWS][N];
#pragma GCC unroll 6
    for (int v = 0; v < ROWS; ++v)
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[v][j] = _mm512_load_si512(last.start.data() + WIDE * j);
    const int32_t *w = last.quads.data();
    for (int64_t i = 0; i < gram_.quads; ++i, w += TILE) {
      __builtin_prefetch(ahead + i * ROWS * QUAD, 0, 2);  // most of the lines of the rows that come next
      __m512i e[N];
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) e[j] = _mm512_load_si512(w + WIDE * j);
      // packing has put four dimensions of each of four registers of floats side by side
      const uint8_t *row = bytes_[first] + i / WIDE * PLACES + (i % 4 * 4 + i % WIDE / 4) * QUAD;
#pragma GCC unroll 6
      for (int v = 0; v < ROWS; ++v) {
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
    for (int v = 0; v < ROWS; ++v) {
      const __m512 scale = _mm512_set1_ps(128 * scale_[first + v]);
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
      note_doubt(k, several, _mm512_load_ps(best + k * WIDE), _mm512_load_ps(second + k * WIDE), _mm512_load_ps(near_ + k * WIDE));
  }

  // Scores of `count` pairs from `start` on, by 16-bit numbers.
  __attribute__((always_inline)) inline __m512 scores_of(int64_t start, int64_t count) {
    const Last &last = gram_.last;
    __m512 sums[WIDE];
    for (int64_t i = 0; i < count; ++i) {
      const int16_t *x = words_[vector_[start + i]], *e = &last.words[code_[start + i] * STRIDE];
      __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 6
      for (int r = 0; r < 2 * R; ++r) sum = pairs_added(sum, _mm512_load_si512(x + 32 * r), _mm512_load_si512(e + 32 * r));
      sums[i] = _mm512_cvtepi32_ps(sum);  // before lanes are added: so 16-bit numbers of codes may be larger
    }
    for (int64_t i = count; i < WIDE; ++i) sums[i] = _mm512_setzero_ps();
    const __mmask16 here = __mmask16((1 << count) - 1);
    const __m512i v = _mm512_maskz_loadu_epi32(here, vector_ + start), code = _mm512_maskz_loadu_epi32(here, code_ + start);
    const __m512 step = _mm512_mul_ps(_mm512_i32gather_ps(code, last.word_scale.data(), 4), _mm512_i32gather_ps(v, scale_, 4));
    const __m512i place = _mm512_add_epi32(_mm512_slli_epi32(v, 6), code);
    return _mm512_fmsub_ps(summed(sums), step, _mm512_i32gather_ps(place, taken_[0], 4));
  }

  const Gram &gram_;
  uint64_t doubt_ = 0;
  __mmask16 inside_[4];
  alignas(64) float mean_[STRIDE] = {};
  alignas(64) int16_t words_[BLOCK][STRIDE];
  alignas(64) uint8_t bytes_[BLOCK][STRIDE];
  alignas(64) int32_t pairs_[STRIDE / 2][BLOCK];
  alignas(64) int32_t found_[MOST_COLUMNS][BLOCK], composed_[MOST_EARLY][BLOCK];
  alignas(64) float scale_[BLOCK], norm_[BLOCK];   // s, ‖y‖
  alignas(64) float apart_[BLOCK], near_[BLOCK];   // how far apart scores of the last stage must be, by 8 bits and by 16
  alignas(64) float taken_[BLOCK][TILE];           // from the scores of the last stage by the codes before
  int32_t vector_[BLOCK * MOST_LEFT + 2], code_[BLOCK * MOST_LEFT + 2];  // pairs that are scored by 16-bit numbers
};
#endif

}  // namespace
