// Which codes can be the nearest, by products of 8-bit numbers (AVX-512 VNNI): four times as many a second as of floats. What is left,
// about one and a half codes of 64, is scored in float32 as native.cpp scores all of them, in the same order: the codes found are the same.
//
// A vector is x = x̂ + (x − x̂) with x̂ = s·q, s = max|x| / 127 and whole q; a code likewise e = ê + δ. A score is b_c + x·e_c, and its
// approximation b_c + x̂·ê_c. For two codes c and c' the approximations' difference is off by no more than
//
//   |(x − x̂)·(ê_c − ê_c') + x·(δ_c − δ_c')|  ≤  ‖x − x̂‖ max‖ê_c − ê_c'‖ + ‖x‖ max‖δ_c − δ_c'‖        (Cauchy-Schwarz)
//
// so what falls behind the best approximation by more cannot be the nearest. Both sides are floats, and so are the scores that have to be
// found again: each is a sum of `width` rounded steps, off by at most (width + 1) 2⁻²⁴ (‖x‖ ‖e‖ + |b|), and the approximations and the
// bound by less than 64 such roundings. `Table` widens the maxima by that; see `rounding` there.

#pragma once

#include <cmath>

#include "native.h"

namespace {

constexpr int64_t QUAD = 4;  // products that an instruction adds to a sum

#if defined(__AVX512F__) && defined(__AVX512BW__) && (defined(__GNUC__) || defined(__clang__))
#define PRESELECTS 1

constexpr int64_t GROUP = 8;   // codes whose products are summed at once, times WIDES registers
constexpr int64_t TILE = 64;   // codes of which one bit a vector says whether they are left

inline int64_t padded(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// A register whose number GCC may not fetch from memory again wherever it is used.
inline __m512 kept(const float *p) {
  __m512 v = _mm512_loadu_ps(p);
  asm("" : "+v"(v));
  return v;
}

// sum plus, in every lane, four products of x, without sign, and e. From the intrinsic function GCC 12 copies all sums to and fro.
inline __m512i products_added(__m512i sum, __m512i x, __m512i e) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(e));
  return sum;
}

// A block of vectors, or of codes, in 8 bits: (quads, BLOCK) lanes of four dimensions, each q + 128, and for every vector s, ‖x‖ / s and
// ‖x − x̂‖ / s. Where a vector is not finite, or too small for 127 / max|x|, the norms are NaN.
struct Bytes {
  Buffer<int32_t> quads;
  alignas(64) float scale[BLOCK], norm[BLOCK], error[BLOCK];
};

// N ≤ QUAD dimensions of a register of vectors, times their factor, as bytes.
template <int N> inline __m512i quad_of(const float *x, __m512 factor, __m512 &norm, __m512 &error) {
  const __m512 whole = _mm512_set1_ps(12582912 + 128);  // 1.5 · 2²³ + 128: what is added to it is rounded, and lies in the lowest byte
  const __m512i lowest = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c));
  __m512i byte[QUAD];
#pragma GCC unroll 4
  for (int i = 0; i < QUAD; ++i) {
    if (i >= N) { byte[i] = _mm512_set1_epi32(128); continue; }
    __m512 y = _mm512_mul_ps(_mm512_load_ps(x + i * BLOCK), factor);
    asm("" : "+v"(y));  // or GCC makes multiply-adds of what follows, for which there are fewer units
    const __m512 rounded = _mm512_add_ps(y, whole), left = _mm512_sub_ps(y, _mm512_sub_ps(rounded, whole));
    norm = _mm512_fmadd_ps(y, y, norm), error = _mm512_fmadd_ps(left, left, error);
    byte[i] = _mm512_castps_si512(rounded);
  }
  const __m512i two = _mm512_mask_shuffle_epi8(byte[0], 0x2222222222222222, byte[1], lowest);
  const __m512i three = _mm512_mask_shuffle_epi8(two, 0x4444444444444444, byte[2], lowest);
  return _mm512_mask_shuffle_epi8(three, 0x8888888888888888, byte[3], lowest);
}

void quantize(const float *columns, int64_t width, Bytes &bytes) {
  __m512 most[WIDES], factor[WIDES], norm[WIDES], error[WIDES];
  for (int k = 0; k < WIDES; ++k) most[k] = norm[k] = error[k] = _mm512_setzero_ps();
  for (int64_t d = 0; d < width; ++d)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) most[k] = _mm512_max_ps(_mm512_abs_ps(_mm512_load_ps(columns + d * BLOCK + k * WIDE)), most[k]);
  for (int k = 0; k < WIDES; ++k) factor[k] = _mm512_div_ps(_mm512_set1_ps(127), most[k]);
  int32_t *out = bytes.quads.data();
  int64_t d = 0;
  for (; d + QUAD <= width; d += QUAD, columns += QUAD * BLOCK, out += BLOCK)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) _mm512_store_si512(out + k * WIDE, quad_of<4>(columns + k * WIDE, factor[k], norm[k], error[k]));
  for (int k = 0; k < WIDES && d < width; ++k) {
    const float *x = columns + k * WIDE;
    __m512i quad;
    switch (width - d) {
      case 1: quad = quad_of<1>(x, factor[k], norm[k], error[k]); break;
      case 2: quad = quad_of<2>(x, factor[k], norm[k], error[k]); break;
      default: quad = quad_of<3>(x, factor[k], norm[k], error[k]);
    }
    _mm512_store_si512(out + k * WIDE, quad);
  }
  for (int k = 0; k < WIDES; ++k) {
    const __mmask16 small = _mm512_cmp_ps_mask(most[k], _mm512_set1_ps(1e-30f), _CMP_LT_OQ);
    _mm512_store_ps(bytes.scale + k * WIDE, _mm512_div_ps(most[k], _mm512_set1_ps(127)));
    _mm512_store_ps(bytes.norm + k * WIDE, _mm512_mask_mov_ps(_mm512_sqrt_ps(norm[k]), small, _mm512_set1_ps(NAN)));
    _mm512_store_ps(bytes.error + k * WIDE, _mm512_sqrt_ps(error[k]));
  }
}

// The largest distance of two of the rows; of many rows a bound that takes no time.
double widest(const Buffer<float> &rows, int64_t count, int64_t stride, double largest_norm) {
  if (count > TILE) return 2 * largest_norm;
  float most = 0;
  for (int64_t a = 0; a < count; ++a)
    for (int64_t b = 0; b < a; ++b) {
      fw many{};
      for (int64_t d = 0; d < stride; d += WIDE) {
        const fw gap = load_wide(&rows[a * stride + d]) - load_wide(&rows[b * stride + d]);
        many += gap * gap;
      }
      float square = 0;
      for (int i = 0; i < WIDE; ++i) square += many[i];
      most = std::max(most, square);
    }
  return std::min(std::sqrt(double(most)), 2 * largest_norm);
}

// A table of codes in 8 bits, in memory of `words` numbers that the caller keeps.
struct Table {
  struct Head {
    float apart;     // max‖ê_c − ê_c'‖
    float off;       // max‖δ_c − δ_c'‖, and what rounding adds for every unit of ‖x‖
    float constant;  // what rounding adds whatever x is
    float unused;
  };
  Head *head;
  float *scale, *bias;  // (codes, padded)
  int32_t *start;       // −128 Σ q: what q + 128 of the vectors adds too much
  int32_t *quads;       // (codes, padded; quads)
  float *columns;       // (width + 1, TILE): `direction` as columns, of one tile
  int64_t stride;

  Table(int32_t *memory, int64_t codes, int64_t width) {
    const int64_t all = padded(codes, GROUP);
    stride = padded(width, QUAD) / QUAD;
    columns = reinterpret_cast<float *>(memory);
    quads = memory + (codes <= TILE ? (width + 1) * TILE : 0), start = quads + all * stride;
    scale = reinterpret_cast<float *>(start + all), bias = scale + all, head = reinterpret_cast<Head *>(bias + all);
  }

  static int64_t words(int64_t codes, int64_t width) {
    return 4 + padded(codes, GROUP) * (3 + padded(width, QUAD) / QUAD) + (codes <= TILE ? (width + 1) * TILE : 0);
  }

  void fill(const float *direction, int64_t codes, int64_t width) const {
    const int64_t floats = padded(width, WIDE);
    Buffer<float> rows(BLOCK * floats), turned(BLOCK * floats), coded(codes * floats, 0), missed(codes * floats, 0);
    Bytes bytes;
    bytes.quads.resize(stride * BLOCK);
    if (codes <= TILE)
      for (int64_t d = 0; d <= width; ++d)
        for (int64_t c = 0; c < TILE; ++c) columns[d * TILE + c] = c < codes ? direction[c * (width + 1) + d] : 0;
    double longest = 0, longest_coded = 0, longest_missed = 0, most_bias = 0;
    std::fill_n(bias, padded(codes, GROUP), -std::numeric_limits<float>::infinity());
    for (int64_t first = 0; first < padded(codes, GROUP); first += BLOCK) {
      std::fill(rows.begin(), rows.end(), 0.0f);
      for (int64_t c = first; c < std::min(first + BLOCK, codes); ++c) std::copy_n(direction + c * (width + 1), width, &rows[(c - first) * floats]);
      transposed<BLOCK>(rows.data(), floats, width, turned.data());
      quantize(turned.data(), width, bytes);
      for (int64_t c = first; c < std::min(first + BLOCK, padded(codes, GROUP)); ++c) {
        const int64_t lane = c - first;
        // a code near zero, and those that only fill a group, count as zeros
        const bool zero = c >= codes || std::all_of(&rows[lane * floats], &rows[lane * floats] + width, [](float e) { return std::abs(e) < 1e-30f; });
        int32_t sum = 0;
        scale[c] = zero ? 0 : bytes.scale[lane];
        double square = 0, coded_square = 0, missed_square = 0;
        for (int64_t i = 0; i < stride; ++i) {
          int8_t four[QUAD];
          for (int64_t j = 0; j < QUAD; ++j) {
            const int64_t d = QUAD * i + j;
            four[j] = zero ? 0 : int8_t(int32_t(uint32_t(bytes.quads[i * BLOCK + lane]) >> 8 * j & 255) - 128);
            sum += four[j];
            if (c >= codes || d >= width) continue;
            const float e = rows[lane * floats + d], hat = scale[c] * four[j];
            coded[c * floats + d] = hat, missed[c * floats + d] = e - hat;
            square += double(e) * e, coded_square += double(hat) * hat, missed_square += double(e - hat) * (e - hat);
          }
          std::memcpy(&quads[c * stride + i], four, sizeof four);
        }
        start[c] = -128 * sum;
        if (c >= codes) continue;
        bias[c] = direction[c * (width + 1) + width];
        // written so that NaN stays
        if (!(square <= longest)) longest = square;
        if (!(coded_square <= longest_coded)) longest_coded = coded_square;
        if (!(missed_square <= longest_missed)) longest_missed = missed_square;
        if (!(std::abs(double(bias[c])) <= most_bias)) most_bias = std::abs(double(bias[c]));
      }
    }
    longest = std::sqrt(longest) + 1e-30;
    const double rounding = 2 * (width + 64) * std::ldexp(1.0, -24), wider = 1 + 4 * rounding;
    head->apart = float(wider * widest(coded, codes, floats, std::sqrt(longest_coded)));
    head->off = float(wider * (widest(missed, codes, floats, std::sqrt(longest_missed)) + rounding * longest));
    head->constant = float(wider * rounding * (most_bias + std::numeric_limits<float>::min()));
  }
};

// Looks for the nearest codes of one table after the other; what it needs is kept from block to block.
class Preselect {
 public:
  Preselect(int64_t dim, int64_t columns) : resting_(columns, 0), tile_(TILE * BLOCK), turned_(padded(dim, LANES) * 2 * WIDE) {
    bytes_.quads.resize(padded(dim, QUAD) / QUAD * BLOCK);
  }

  // The best code of every vector of a block as `search_block` finds it. False where too many are left to gain anything, or were lately.
  bool search(const float *direction, int32_t *memory, int64_t codes, int64_t width, const float *columns, int64_t column, int32_t *found) {
    if (resting_[column] > 0) { --resting_[column]; return false; }
    const Table table(memory, codes, width);
    quantize(columns, width, bytes_);
    __m512 best[WIDES], margin[WIDES], limit[WIDES];
    for (int k = 0; k < WIDES; ++k) {
      const __m512 norm = _mm512_load_ps(bytes_.norm + k * WIDE), error = _mm512_load_ps(bytes_.error + k * WIDE);
      const __m512 sum = _mm512_fmadd_ps(norm, _mm512_set1_ps(table.head->off), _mm512_mul_ps(error, _mm512_set1_ps(table.head->apart)));
      margin[k] = _mm512_fmadd_ps(sum, _mm512_load_ps(bytes_.scale + k * WIDE), _mm512_set1_ps(table.head->constant));
      best[k] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    }
    const int64_t most = BLOCK * std::min<int64_t>(codes / 16, 64);
    reserve(most + TILE * BLOCK);
    pairs_ = 0;
    for (int64_t first = 0; first < codes; first += TILE) {
      const int64_t count = std::min(TILE, codes - first);
      for (int64_t c = 0; c < count; c += GROUP) approximate(table, first + c, tile_.data() + c * BLOCK, best);
      for (int k = 0; k < WIDES; ++k) limit[k] = _mm512_sub_ps(best[k], margin[k]);
      uint64_t bits[BLOCK];
      left(tile_.data(), count, limit, bits);
      if (codes <= TILE) pair_several(bits, found);
      else pair(bits, int32_t(first));
      if (pairs_ > most) { resting_[column] = 15; return false; }
    }
    if (codes > TILE) drop(limit, found);
    for (int64_t i = 0; i < pairs_; ++i) found[vector_[i]] = 0;
    for (int v = 0; v < BLOCK; ++v) best_[v] = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < pairs_;) {
      const int64_t ahead = pairs_ - i;
      if (codes > TILE) score_turned(direction, width, columns, i, found), i += 2 * WIDE;
      else if (ahead > 2 * WIDE) score_picked<3>(table.columns, width, columns, i, found), i += 3 * WIDE;
      else if (ahead > WIDE) score_picked<2>(table.columns, width, columns, i, found), i += 2 * WIDE;
      else score_picked<1>(table.columns, width, columns, i, found), i += WIDE;
    }
    return true;
  }

 private:
  void reserve(int64_t pairs) {
    if (int64_t(vector_.size()) >= pairs + 3 * WIDE) return;
    vector_.resize(pairs + 3 * WIDE, 0), code_.resize(pairs + 3 * WIDE, 0), approximation_.resize(pairs + 3 * WIDE, 0);
  }

  // The approximate scores of a group of codes for a block, and the best so far.
  __attribute__((noinline)) void approximate(const Table &table, int64_t first, float *out, __m512 *best) const {
    __m512i s[GROUP][WIDES];
#pragma GCC unroll 8
    for (int c = 0; c < GROUP; ++c)
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) s[c][k] = _mm512_set1_epi32(table.start[first + c]);
    const int32_t *x = bytes_.quads.data(), *row = table.quads + first * table.stride;
    for (int64_t i = 0; i < table.stride; ++i, x += BLOCK, ++row) {
      __m512i a[WIDES];
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) a[k] = _mm512_load_si512(x + k * WIDE);
#pragma GCC unroll 8
      for (int c = 0; c < GROUP; ++c) {
        const __m512i e = _mm512_set1_epi32(row[c * table.stride]);
#pragma GCC unroll 3
        for (int k = 0; k < WIDES; ++k) s[c][k] = products_added(s[c][k], a[k], e);
      }
    }
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) {
      const __m512 scale = _mm512_load_ps(bytes_.scale + k * WIDE);
#pragma GCC unroll 8
      for (int c = 0; c < GROUP; ++c) {
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(s[c][k]), _mm512_set1_ps(table.scale[first + c]));
        const __m512 score = _mm512_fmadd_ps(product, scale, _mm512_set1_ps(table.bias[first + c]));
        best[k] = _mm512_max_ps(best[k], score);
        _mm512_store_ps(out + c * BLOCK + k * WIDE, score);
      }
    }
  }

  // For every vector a bit for each of up to TILE codes that is not below the limit; what is NaN never is.
  static void left(const float *scores, int64_t count, const __m512 *limit, uint64_t *bits) {
    alignas(64) uint32_t half[2][BLOCK];
    for (int64_t h = 0; h < 2; ++h) {
      __m512i found[WIDES] = {};
      for (int64_t c = 32 * h; c < std::min<int64_t>(count, 32 * h + 32); ++c) {
        const __m512i bit = _mm512_set1_epi32(int32_t(1u << (c & 31)));
#pragma GCC unroll 3
        for (int k = 0; k < WIDES; ++k) {
          const __mmask16 here = _mm512_cmp_ps_mask(_mm512_load_ps(scores + c * BLOCK + k * WIDE), limit[k], _CMP_NLT_UQ);
          found[k] = _mm512_mask_or_epi32(found[k], here, found[k], bit);
        }
      }
      for (int k = 0; k < WIDES; ++k) _mm512_store_si512(half[h] + k * WIDE, found[k]);
    }
    for (int v = 0; v < BLOCK; ++v) bits[v] = half[0][v] | uint64_t(half[1][v]) << 32;
  }

  void pair(int32_t v, uint64_t bits, int32_t first) {
    for (; bits; bits &= bits - 1) {
      const int32_t c = __builtin_ctzll(bits);
      vector_[pairs_] = v, code_[pairs_] = first + c, approximation_[pairs_] = tile_[c * BLOCK + v], ++pairs_;
    }
  }

  // What is left of a table of one tile: where it is a single code, that is found.
  void pair_several(const uint64_t *bits, int32_t *found) {
    uint64_t several = 0;
    for (int v = 0; v < BLOCK; ++v) {
      found[v] = __builtin_ctzll(bits[v]);
      several |= uint64_t((bits[v] & (bits[v] - 1)) != 0) << v;
    }
    for (; several; several &= several - 1) {
      const int32_t v = __builtin_ctzll(several);
      pair(v, bits[v], 0);
    }
  }

  // What is left of one of many tiles, most of them without any.
  void pair(const uint64_t *bits, int32_t first) {
    uint64_t some = 0;
    for (int v = 0; v < BLOCK; ++v) some |= uint64_t(bits[v] != 0) << v;
    for (; some; some &= some - 1) {
      const int32_t v = __builtin_ctzll(some);
      pair(v, bits[v], first);
    }
  }

  // Without the pairs that later tiles have put below the limit; where a single one remains, that is found.
  void drop(const __m512 *limit, int32_t *found) {
    alignas(64) float limits[BLOCK];
    int32_t count[BLOCK] = {};
    for (int k = 0; k < WIDES; ++k) _mm512_store_ps(limits + k * WIDE, limit[k]);
    for (int64_t i = 0; i < pairs_; ++i)
      if (!(approximation_[i] < limits[vector_[i]])) ++count[vector_[i]], found[vector_[i]] = code_[i];
    int64_t kept = 0;
    for (int64_t i = 0; i < pairs_; ++i) {
      vector_[kept] = vector_[i], code_[kept] = code_[i];
      kept += !(approximation_[i] < limits[vector_[i]]) && count[vector_[i]] > 1;
    }
    pairs_ = kept;
  }

  // Which vector of the block each lane of K registers stands for.
  template <int K> struct Lanes {
    __m512i vector[K];
    __mmask16 third[K];
    explicit Lanes(const int32_t *vectors) {
      for (int k = 0; k < K; ++k) {
        vector[k] = _mm512_loadu_si512(vectors + k * WIDE);
        third[k] = _mm512_test_epi32_mask(vector[k], _mm512_set1_epi32(2 * WIDE));
      }
    }
    __m512 picked(int k, __m512 a, __m512 b, __m512 c) const {
      return _mm512_mask_permutexvar_ps(_mm512_permutex2var_ps(a, vector[k], b), third[k], vector[k], c);
    }
  };

  // Scores 16·K pairs from `first` on. A single tile of codes lies as columns: of a dimension all are in four registers.
  template <int K> void score_picked(const float *tile, int64_t width, const float *x, int64_t first, int32_t *found) {
    const Lanes<K> lanes(vector_.data() + first);
    __m512 sum[K];
    __m512i code[K];
    __mmask16 upper[K];
    for (int k = 0; k < K; ++k) {
      code[k] = _mm512_loadu_si512(code_.data() + first + k * WIDE);
      upper[k] = _mm512_test_epi32_mask(code[k], _mm512_set1_epi32(2 * WIDE));
    }
    const auto each = [&](const float *row, auto work) __attribute__((always_inline)) {
      const __m512 a = kept(row), b = kept(row + WIDE), c = kept(row + 2 * WIDE), d = kept(row + 3 * WIDE);
#pragma GCC unroll 3
      for (int k = 0; k < K; ++k)
        work(k, _mm512_mask_blend_ps(upper[k], _mm512_permutex2var_ps(a, code[k], b), _mm512_permutex2var_ps(c, code[k], d)));
    };
    each(tile + width * TILE, [&](int k, __m512 bias) __attribute__((always_inline)) { sum[k] = bias; });
    for (int64_t i = 0; i < width; ++i, x += BLOCK) {
      const __m512 a = kept(x), b = kept(x + WIDE), c = kept(x + 2 * WIDE);
      each(tile + i * TILE, [&](int k, __m512 e) __attribute__((always_inline)) { sum[k] = _mm512_fmadd_ps(e, lanes.picked(k, a, b, c), sum[k]); });
    }
    settle<K>(sum, first, found);
  }

  // The same for 32 pairs of any table, whose rows are turned first.
  void score_turned(const float *direction, int64_t width, const float *x, int64_t first, int32_t *found) {
    constexpr int K = 2;
    const float *rows[K * WIDE];
    alignas(64) float bias[K * WIDE];
    for (int64_t i = 0; i < K * WIDE; ++i) {
      rows[i] = direction + code_[std::min(first + i, pairs_ - 1)] * (width + 1);
      bias[i] = rows[i][width];
    }
    turn_rows<K * WIDE>(rows, width);
    const Lanes<K> lanes(vector_.data() + first);
    __m512 sum[K];
    for (int k = 0; k < K; ++k) sum[k] = _mm512_load_ps(bias + k * WIDE);
    const float *e = turned_.data();
    for (int64_t i = 0; i < width; ++i, x += BLOCK, e += K * WIDE) {
      const __m512 a = kept(x), b = kept(x + WIDE), c = kept(x + 2 * WIDE);
#pragma GCC unroll 2
      for (int k = 0; k < K; ++k) sum[k] = _mm512_fmadd_ps(_mm512_load_ps(e + k * WIDE), lanes.picked(k, a, b, c), sum[k]);
    }
    settle<K>(sum, first, found);
  }

  // The pairs of a vector come in the order of their codes: the first of equal scores stays.
  template <int K> void settle(const __m512 *sum, int64_t first, int32_t *found) {
    alignas(64) float scores[K * WIDE];
    for (int k = 0; k < K; ++k) _mm512_store_ps(scores + k * WIDE, sum[k]);
    const int64_t here = std::min<int64_t>(K * WIDE, pairs_ - first);
    for (int64_t i = 0; i < here; ++i) {
      const int32_t v = vector_[first + i], old = found[v], own = code_[first + i];
      const int32_t better = -int32_t(scores[i] > best_[v]);  // no branch: nobody could predict it
      best_[v] = scores[i] > best_[v] ? scores[i] : best_[v];
      found[v] = old ^ ((old ^ own) & better);
    }
  }

  // Rows anywhere → turned_ (width, N).
  template <int N> void turn_rows(const float *const *rows, int64_t width) {
    float *out = turned_.data();
    for (int v = 0; v < N; v += WIDE)
      for (int64_t d = 0; d < width; d += LANES) {
        fw tile[LANES];
        const __mmask8 here = width - d < LANES ? __mmask8((1 << (width - d)) - 1) : __mmask8(255);
        for (int i = 0; i < LANES; ++i)
          tile[i] = fw(_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_maskz_loadu_ps(here, rows[v + i] + d)),
                                          _mm256_maskz_loadu_ps(here, rows[v + LANES + i] + d), 1));
        transpose(tile);
        for (int i = 0; i < LANES; ++i) store_wide(out + (d + i) * N + v, tile[i]);
      }
  }

  std::vector<int> resting_;  // for how many blocks a table is not tried again
  Bytes bytes_;
  Buffer<float> tile_, turned_;
  int64_t pairs_ = 0;  // vectors with a code each that may be the nearest, in the order of the codes
  Buffer<int32_t> vector_, code_;
  Buffer<float> approximation_;
  alignas(64) float best_[BLOCK];
};

// Memory of a table's `Table`; 0 where the table is too small to gain by it, or the processor has no VNNI.
inline int64_t preselect_words(int64_t codes, int64_t width) {
  return codes >= 48 && width >= 48 && __builtin_cpu_supports("avx512vnni") ? Table::words(codes, width) : 0;
}

inline void prepare(const float *direction, int64_t codes, int64_t width, int32_t *memory) {
  Table(memory, codes, width).fill(direction, codes, width);
}
#else
class Preselect {
 public:
  Preselect(int64_t, int64_t) {}
  bool search(const float *, int32_t *, int64_t, int64_t, const float *, int64_t, int32_t *) { return false; }
};

inline int64_t preselect_words(int64_t, int64_t) { return 0; }
inline void prepare(const float *, int64_t, int64_t, int32_t *) {}
#endif

}  // namespace
