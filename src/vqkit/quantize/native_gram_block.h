// A block of vectors, less the mean, in whole numbers for native_gram.h; native_gram_table.h says what they are for.

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

// R registers hold the 8-bit numbers of a vector, and twice as many its 16-bit numbers. What lies beyond dim is zero.
template <int R> class WholeBlock {
 public:
  static constexpr int64_t STRIDE = R * BYTES;
  alignas(64) int16_t words[BLOCK][STRIDE];     // q, with 32 dimensions of a register in the order of packed numbers
  alignas(64) uint8_t bytes[BLOCK][STRIDE];     // q / 128 + 128, likewise with 64
  alignas(64) int32_t pairs[STRIDE / 2][BLOCK]; // q of two dimensions, in their order
  alignas(64) float scale[BLOCK], norm[BLOCK], error[BLOCK];  // s, and no less than ‖y‖ and than what 8 bits are off; NaN: in doubt
  bool finite = true;  // all vectors so far, and not so large that their sums may not be

  WholeBlock(int64_t dim, const float *mean) : dim_(dim) {
    std::copy_n(mean, dim, mean_);
    for (int i = 0; i < 4; ++i) inside_[i] = __mmask16((1 << std::clamp<int64_t>(dim - WIDE * (FLOATS - 4 + i), 0, WIDE)) - 1);
  }

  void take(const float *x) { quantize(x), turn(); }

 private:
  static constexpr int FLOATS = 4 * R;  // registers that hold a vector's floats

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
    for (int64_t v = 0; v < BLOCK; v += WIDE, x += WIDE * dim_) {
      __m512 rows[WIDE], missed[WIDE];
      // as whole numbers, whose order is that of absolute values, and NaN is above all
      for (int64_t i = 0; i < WIDE; ++i) {
        __m512i most = _mm512_setzero_si512();
#pragma GCC unroll 12
        for (int r = 0; r < FLOATS; ++r)
          most = _mm512_max_epu32(most, _mm512_castps_si512(_mm512_abs_ps(centred(x + i * dim_, r, mean))));
        rows[i] = _mm512_castsi512_ps(most);
      }
      __m512 most = across(rows, [](__m512 a, __m512 b) {
        return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
      });
      // NaN where a vector is too small, too large or not finite: then all its bounds are, and it is in doubt
      const __mmask16 small = _mm512_cmp_ps_mask(most, _mm512_set1_ps(SMALL), _CMP_LT_OQ);
      const __mmask16 large = _mm512_cmp_ps_mask(most, _mm512_set1_ps(float(LARGE)), _CMP_GT_OQ);
      finite &= _mm512_cmp_ps_mask(most, _mm512_set1_ps(float(LARGE)), _CMP_LE_OQ) == 0xffff;
      most = _mm512_mask_mov_ps(most, small | large, _mm512_set1_ps(NAN));
      alignas(64) float factor[WIDE];
      _mm512_store_ps(factor, _mm512_div_ps(_mm512_set1_ps(float(MOST_WHOLE)), most));
      for (int64_t i = 0; i < WIDE; ++i)
        quantize_row(x + i * dim_, v + i, _mm512_set1_ps(factor[i]), mean, rows[i], missed[i]);
      const __m512 step = _mm512_mul_ps(most, _mm512_set1_ps(1.0f / MOST_WHOLE));
      // half a step in each dimension, and a little for rounded factors
      const __m512 half = _mm512_set1_ps(0.51f * std::sqrt(float(dim_)));
      const __m512 length = _mm512_add_ps(_mm512_sqrt_ps(summed(rows)), half), left = _mm512_add_ps(_mm512_sqrt_ps(summed(missed)), half);
      _mm512_store_ps(scale + v, step), _mm512_store_ps(norm + v, _mm512_mul_ps(step, length));
      _mm512_store_ps(error + v, _mm512_mul_ps(step, left));
    }
  }

  // `square` and `missed` are sums of squares of the 16-bit numbers, and of what rounding these to 8 bits takes.
  __attribute__((always_inline)) inline void quantize_row(const float *row, int64_t v, __m512 factor, const __m512 *mean, __m512 &square,
                                                          __m512 &missed) {
    __m512i squares = _mm512_setzero_si512(), rest = squares;
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      __m512i whole[4], high[2];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) whole[j] = _mm512_cvtps_epi32(_mm512_mul_ps(centred(row, 4 * r + j, mean), factor));
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m512i pair = _mm512_packs_epi32(whole[2 * j], whole[2 * j + 1]);
        _mm512_store_si512(words[v] + r * BYTES + 32 * j, pair);
        high[j] = _mm512_srai_epi16(_mm512_add_epi16(pair, _mm512_set1_epi16(64)), 7);
        const __m512i low = _mm512_sub_epi16(pair, _mm512_slli_epi16(high[j], 7));
        squares = pairs_added(squares, pair, pair), rest = pairs_added(rest, low, low);
      }
      // + 128, for one factor of each product has no sign
      _mm512_store_si512(bytes[v] + r * BYTES, _mm512_xor_si512(_mm512_packs_epi16(high[0], high[1]), _mm512_set1_epi8(-128)));
    }
    square = _mm512_cvtepu32_ps(squares), missed = _mm512_cvtepu32_ps(rest);
  }

  // Pairs of 16-bit numbers as columns: (dim / 2, BLOCK). To pack has put dimensions 4 i … 4 i + 3 of 32 beside 16 + 4 i … 16 + 4 i + 3.
  __attribute__((noinline)) void turn() {
    for (int64_t v = 0; v < BLOCK; v += WIDE)
      for (int64_t d = 0; d < dim_; d += 32) {
        __m512i tile[WIDE];
        for (int i = 0; i < WIDE; ++i) tile[i] = _mm512_load_si512(words[v + i] + d);
        transpose_whole(tile);
        for (int i = 0; i < WIDE; ++i) _mm512_store_si512(pairs[d / 2 + i % 4 / 2 * 8 + i / 4 * 2 + i % 2] + v, tile[i]);
      }
  }

  int64_t dim_;
  __mmask16 inside_[4];  // of the last registers of a row: those before are full
  alignas(64) float mean_[STRIDE] = {};
};
#endif

}  // namespace
