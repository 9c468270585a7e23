// Which codes can be the nearest, or among the best, by products of 8-bit numbers (AVX-512 VNNI): four times as many a second as of floats. What is left,
// about one and a half codes of 64, is scored in float32 as native.cpp scores all of them, in the same order: the codes found are the same.
//
// A vector is x = x̂ + (x − x̂) with x̂ = s·q, s = max|x| / 127 and whole q; a code likewise e = ê + δ. A score is b_c + x·e_c, and its
// approximation b_c + x̂·ê_c. By the inequality of Cauchy and Schwarz the difference of two codes' approximations is off by at most
//
//   |(x − x̂)·(ê_c − ê_c') + x·(δ_c − δ_c')|  ≤  ‖x − x̂‖ max‖ê_c − ê_c'‖ + ‖x‖ max‖δ_c − δ_c'‖,
//
// and a code that falls behind the best approximation by more cannot be the nearest. A single approximation is off by at most
// ‖x − x̂‖ max‖ê_c‖ + ‖x‖ max‖δ_c‖, which a beam needs, whose candidates have different x. All of this is computed in floats, and so are the
// scores that have to be found again: each is a sum of `width` rounded steps, off by at most (width + 1) 2⁻²⁴ (‖x‖ ‖e‖ + |b|), and
// approximations and bound add less than 64 such roundings. `Table::fill` widens the maxima by that.

#pragma once

#include <cmath>
#include <numeric>

#include "native.h"

namespace {

constexpr int64_t QUAD = 4;  // products that an instruction adds to a sum

#if defined(__AVX512F__) && defined(__AVX512BW__) && (defined(__GNUC__) || defined(__clang__))
#define PRESELECTS

constexpr int64_t GROUP = 8;  // codes whose products are summed at once, times WIDES registers
constexpr int64_t TILE = 64;  // codes of which one bit a vector says whether they are left

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

// A block of vectors, or of codes, in 8 bits: (quads, BLOCK) lanes of four dimensions, each q + 128, and for every vector s, ‖x‖ / s
// and ‖x − x̂‖ / s. Where a vector is not finite, or too small for 127 / max|x|, the norms are NaN.
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

// In double: squares of what floats hold may be larger or smaller than a float.
double distance(const float *a, const float *b, int64_t width) {
  double square[LANES] = {}, sum = 0;
  for (int64_t d = 0; d < width; d += LANES)
    for (int i = 0; i < LANES; ++i) {
      const double gap = double(a[d + i]) - b[d + i];
      square[i] += gap * gap;
    }
  for (int i = 0; i < LANES; ++i) sum += square[i];
  return std::sqrt(sum);
}

// The larger one, and NaN where one is: std::max may drop it.
double larger(double a, double b) { return a <= b ? b : a + (b - b); }

// The length of the longest row, NaN where one is not finite.
double longest_row(const Buffer<float> &rows, int64_t count, int64_t width) {
  const std::vector<float> zeros(width, 0);
  double longest = 0;
  for (int64_t a = 0; a < count; ++a) longest = larger(longest, distance(&rows[a * width], zeros.data(), width));
  return longest;
}

// The largest distance of two of the rows, or a bound: of many rows it would take too long. NaN where one is not finite.
double widest(const Buffer<float> &rows, int64_t count, int64_t width) {
  if (count > TILE) return 2 * longest_row(rows, count, width);
  double most = 0;
  for (int64_t a = 0; a < count; ++a)
    for (int64_t b = 0; b <= a; ++b) most = larger(most, distance(&rows[a * width], &rows[b * width], width));
  return most;
}

// A table of codes in 8 bits, in memory of `words` numbers that the caller keeps.
struct Table {
  struct Head {
    float apart;     // max‖ê_c − ê_c'‖
    float off;       // max‖δ_c − δ_c'‖, and what rounding adds for every unit of ‖x‖
    float longest;   // max‖ê_c‖
    float lost;      // max‖δ_c‖, likewise with rounding; these two bound one code's approximation, those above the difference of two codes'
    float constant;  // what rounding adds whatever x is
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
    return sizeof(Head) / 4 + padded(codes, GROUP) * (3 + padded(width, QUAD) / QUAD) + (codes <= TILE ? (width + 1) * TILE : 0);
  }

  void fill(const float *direction, int64_t codes, int64_t width) const {
    const int64_t all = padded(codes, GROUP), floats = padded(width, WIDE);
    Buffer<float> rows(padded(all, BLOCK) * floats, 0), missed(codes * floats, 0), turned(BLOCK * floats);
    Bytes bytes;
    bytes.quads.resize(stride * BLOCK);
    for (int64_t c = 0; c < codes; ++c) std::copy_n(direction + c * (width + 1), width, &rows[c * floats]);
    const double longest = larger(1e-30, longest_row(rows, codes, floats));
    double most_bias = 0;
    for (int64_t c = 0; c < all; ++c) {
      const int64_t lane = c % BLOCK;
      float *row = &rows[c * floats];
      if (lane == 0) transposed<BLOCK>(row, floats, width, turned.data()), quantize(turned.data(), width, bytes);
      const float most = std::accumulate(row, row + width, 0.0f, [](float a, float b) { return std::max(a, std::abs(b)); });
      scale[c] = most < 1e-30f ? 0 : bytes.scale[lane];  // a code so small, and what fills a group, counts as zeros
      int32_t sum = 0;
      for (int64_t i = 0; i < stride; ++i) {
        int32_t quad = scale[c] == 0 ? 0 : bytes.quads[i * BLOCK + lane] ^ int32_t(0x80808080);  // q + 128 → q
        quads[c * stride + i] = quad;
        for (int64_t j = 0; j < QUAD; ++j, quad >>= 8) {
          const int8_t q = int8_t(quad);
          sum += q;
          if (c < codes && QUAD * i + j < width) {
            missed[c * floats + QUAD * i + j] = row[QUAD * i + j] - scale[c] * q;
            row[QUAD * i + j] = scale[c] * q;
          }
        }
      }
      start[c] = -128 * sum;
      bias[c] = c < codes ? direction[c * (width + 1) + width] : -std::numeric_limits<float>::infinity();
      if (c < codes) most_bias = larger(most_bias, std::abs(double(bias[c])));
    }
    const double rounding = 2 * (width + 64) * std::ldexp(1.0, -24), wider = 1 + 4 * rounding;
    head->apart = float(wider * widest(rows, codes, floats));
    head->off = float(wider * (widest(missed, codes, floats) + rounding * longest));
    head->longest = float(wider * longest_row(rows, codes, floats));
    head->lost = float(wider * (longest_row(missed, codes, floats) + rounding * longest));
    // where small results are flushed to zero, each rounding may take as much as the smallest float
    head->constant = float(wider * rounding * (most_bias + std::ldexp(std::numeric_limits<float>::min(), 24)));
    if (codes <= TILE)
      for (int64_t d = 0; d <= width; ++d)
        for (int64_t c = 0; c < TILE; ++c) columns[d * TILE + c] = c < codes ? direction[c * (width + 1) + d] : 0;
  }
};

// By how much approximations for a register of vectors may be off, with the maxima of Table::Head for one code or for two.
inline __m512 margin_of(const Bytes &bytes, int k, float of_quantized, float of_missed, float constant) {
  const __m512 norm = _mm512_load_ps(bytes.norm + k * WIDE), error = _mm512_load_ps(bytes.error + k * WIDE);
  const __m512 sum = _mm512_fmadd_ps(error, _mm512_set1_ps(of_quantized), _mm512_mul_ps(norm, _mm512_set1_ps(of_missed)));
  const __m512 margin = _mm512_fmadd_ps(sum, _mm512_load_ps(bytes.scale + k * WIDE), _mm512_set1_ps(constant));
  // where scores may overflow nothing is ruled out
  return _mm512_mask_mov_ps(margin, _mm512_cmp_ps_mask(margin, _mm512_set1_ps(1e30f), _CMP_GT_OQ), _mm512_set1_ps(NAN));
}

// The approximate scores of a group of codes for a block, and the best so far, which a beam has no use for.
__attribute__((noinline)) void approximate(const Table &table, const Bytes &bytes, int64_t first, float *out, __m512 *best) {
  __m512i s[GROUP][WIDES];
#pragma GCC unroll 8
  for (int c = 0; c < GROUP; ++c)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) s[c][k] = _mm512_set1_epi32(table.start[first + c]);
  const int32_t *x = bytes.quads.data(), *row = table.quads + first * table.stride;
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
    const __m512 scale = _mm512_load_ps(bytes.scale + k * WIDE);
#pragma GCC unroll 8
    for (int c = 0; c < GROUP; ++c) {
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(s[c][k]), _mm512_set1_ps(table.scale[first + c]));
      const __m512 score = _mm512_fmadd_ps(product, scale, _mm512_set1_ps(table.bias[first + c]));
      best[k] = _mm512_max_ps(best[k], score);
      _mm512_store_ps(out + c * BLOCK + k * WIDE, score);
    }
  }
}

// Looks for the nearest codes of one table after the other; what it needs is kept from block to block.
class Preselect {
 public:
  Preselect(int64_t dim, int64_t columns) : dim_(dim), columns_(columns) {}

  // The best codes of the first `count` vectors of a block as `search_block` finds them in the table of this column. False where too many
  // are left to gain anything, or were lately.
  bool search(const float *direction, int32_t *memory, int64_t codes, int64_t width, const float *columns, int64_t count, int64_t column,
              int32_t *found) {
    if (resting_.empty()) reserve();
    if (resting_[column] > 0) { --resting_[column]; return false; }
    const Table table(memory, codes, width);
    quantize(columns, width, bytes_);
    __m512 best[WIDES], margin[WIDES], limit[WIDES];
    for (int k = 0; k < WIDES; ++k) {
      margin[k] = margin_of(bytes_, k, table.head->apart, table.head->off, table.head->constant);
      best[k] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    }
    const int64_t most = BLOCK * std::min<int64_t>(codes / 16, 64);
    reserve_pairs(codes, most + TILE);
    for (int64_t first = 0; first < codes; first += TILE) {
      const int64_t here = std::min(TILE, codes - first);
      for (int64_t c = 0; c < here; c += GROUP) approximate(table, bytes_, first + c, tile_.data() + c * BLOCK, best);
      for (int k = 0; k < WIDES; ++k) limit[k] = _mm512_sub_ps(best[k], margin[k]);
      uint64_t bits[BLOCK];
      left(tile_.data(), here, limit, bits);
      std::fill(bits + count, bits + BLOCK, 0);
      if (codes <= TILE) pair_several(bits, most, found);
      else pair(bits, most, int32_t(first));
      if (pairs_ > most) { resting_[column] = 15; return false; }
    }
    if (codes > TILE) drop(limit, found);
    for (int64_t i = 0; i < pairs_; ++i) found[vector_[i]] = 0;
    for (int v = 0; v < BLOCK; ++v) best_[v] = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < pairs_;) {
      const int64_t ahead = pairs_ - i;
      if (codes > TILE) { score_turned(direction, width, columns, i, found), i += 2 * WIDE; continue; }
      switch ((ahead + WIDE - 1) / WIDE) {
        case 1: score_picked<1>(table.columns, width, columns, i, found), i += WIDE; break;
        case 2: score_picked<2>(table.columns, width, columns, i, found), i += 2 * WIDE; break;
        case 3: score_picked<3>(table.columns, width, columns, i, found), i += 3 * WIDE; break;
        case 4: score_picked<4>(table.columns, width, columns, i, found), i += 4 * WIDE; break;
        case 5: score_picked<5>(table.columns, width, columns, i, found), i += 5 * WIDE; break;
        default: score_picked<6>(table.columns, width, columns, i, found), i += 6 * WIDE;
      }
    }
    return true;
  }

 private:
  // Nothing is allocated before it is needed: a single vector does not come here.
  void reserve() {
    resting_.resize(columns_, 0);
    bytes_.quads.resize(padded(dim_, QUAD) / QUAD * BLOCK);
    tile_.resize(TILE * BLOCK);
  }

  void reserve_pairs(int64_t codes, int64_t pairs) {
    pairs_ = 0;
    if (codes > TILE && turned_.empty()) turned_.resize(padded(dim_, LANES) * 2 * WIDE);
    if (int64_t(vector_.size()) >= pairs + 7 * WIDE) return;
    vector_.resize(pairs + 7 * WIDE, 0), code_.resize(pairs + 7 * WIDE, 0), approximation_.resize(pairs + 7 * WIDE, 0);
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

  // Pairs of a vector with each code of a tile that has its bit. How many there are nobody can predict, so four are written anyway.
  void pair(int32_t v, uint64_t bits, int32_t first) {
    do
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int32_t c = __builtin_ctzll(bits | uint64_t(1) << 63);
        vector_[pairs_] = v, code_[pairs_] = first + c, approximation_[pairs_] = tile_[c * BLOCK + v];
        pairs_ += bits != 0, bits &= bits - 1;
      }
    while (bits);
  }

  // Where 16 pairs would lie in all three registers of vectors, the last pair again and again until they are 16.
  void fill_up() {
    const int64_t first = pairs_ / WIDE * WIDE;
    if (pairs_ > first && vector_[first] < WIDE)
      for (; pairs_ % WIDE; ++pairs_) vector_[pairs_] = vector_[pairs_ - 1], code_[pairs_] = code_[pairs_ - 1];
  }

  // What is left of a table of one tile: where it is a single code, that is found.
  void pair_several(const uint64_t *bits, int64_t most, int32_t *found) {
    uint64_t several = 0;
    for (int v = 0; v < BLOCK; ++v) {
      found[v] = __builtin_ctzll(bits[v] | uint64_t(1) << 63);
      several |= uint64_t((bits[v] & (bits[v] - 1)) != 0) << v;
    }
    for (bool third = false; several && pairs_ <= most; several &= several - 1) {
      const int32_t v = __builtin_ctzll(several);
      if (v >= 2 * WIDE && !third) third = true, fill_up();
      pair(v, bits[v], 0);
    }
  }

  // What is left of one of many tiles, most of them without any.
  void pair(const uint64_t *bits, int64_t most, int32_t first) {
    uint64_t some = 0;
    for (int v = 0; v < BLOCK; ++v) some |= uint64_t(bits[v] != 0) << v;
    for (; some && pairs_ <= most; some &= some - 1) {
      const int32_t v = __builtin_ctzll(some);
      pair(v, bits[v], first);
    }
  }

  // Without the pairs that later tiles have put below the limit; where a single one remains, that is found.
  void drop(const __m512 *limit, int32_t *found) {
    alignas(64) float limits[BLOCK];
    int32_t count[BLOCK] = {};
    for (int k = 0; k < WIDES; ++k) _mm512_store_ps(limits + k * WIDE, limit[k]);
    int64_t kept = 0, several = 0;
    for (int64_t i = 0; i < pairs_; ++i) {
      const int32_t v = vector_[i], c = code_[i], keep = !(approximation_[i] < limits[v]);
      vector_[kept] = v, code_[kept] = c, kept += keep;
      count[v] += keep, found[v] ^= (found[v] ^ c) & -keep;
    }
    for (int64_t i = 0; i < kept; ++i) {
      vector_[several] = vector_[i], code_[several] = code_[i];
      several += count[vector_[i]] > 1;
    }
    pairs_ = several;
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

  // Scores 16·K pairs from `first` on. A single tile of codes lies as columns: of a dimension all are in four registers, and the vectors
  // of a register of pairs are in two.
  template <int K> void score_picked(const float *tile, int64_t width, const float *columns, int64_t first, int32_t *found) {
    __m512 sum[K];
    __m512i vector[K], code[K];
    __mmask16 upper[K];
    const float *x[K];
    for (int k = 0; k < K; ++k) {
      const int32_t from = std::min<int32_t>(vector_[first + k * WIDE] / WIDE, WIDES - 2) * WIDE;
      x[k] = columns + from;
      vector[k] = _mm512_sub_epi32(_mm512_load_si512(vector_.data() + first + k * WIDE), _mm512_set1_epi32(from));
      code[k] = _mm512_load_si512(code_.data() + first + k * WIDE);
      upper[k] = _mm512_test_epi32_mask(code[k], _mm512_set1_epi32(2 * WIDE));
    }
    const auto each = [&](const float *row, auto work) __attribute__((always_inline)) {
      const __m512 a = kept(row), b = kept(row + WIDE), c = kept(row + 2 * WIDE), d = kept(row + 3 * WIDE);
#pragma GCC unroll 6
      for (int k = 0; k < K; ++k)
        work(k, _mm512_mask_blend_ps(upper[k], _mm512_permutex2var_ps(a, code[k], b), _mm512_permutex2var_ps(c, code[k], d)));
    };
    each(tile + width * TILE, [&](int k, __m512 bias) __attribute__((always_inline)) { sum[k] = bias; });
    for (int64_t i = 0; i < width; ++i)
      each(tile + i * TILE, [&](int k, __m512 e) __attribute__((always_inline)) {
        const float *at = x[k] + i * BLOCK;
        sum[k] = _mm512_fmadd_ps(e, _mm512_permutex2var_ps(_mm512_load_ps(at), vector[k], _mm512_load_ps(at + WIDE)), sum[k]);
      });
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

  int64_t dim_, columns_;
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
  bool search(const float *, int32_t *, int64_t, int64_t, const float *, int64_t, int64_t, int32_t *) { return false; }
};

inline int64_t preselect_words(int64_t, int64_t) { return 0; }
inline void prepare(const float *, int64_t, int64_t, int32_t *) {}
#endif

}  // namespace
