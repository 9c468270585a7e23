// Searches and sums of small codebooks in one pass over the vectors. The plain twins are in search.py, signs.py and tables.py, which say
// what is computed and why; here is only how.
//
// Vectors are searched in blocks of BLOCK. A block is transposed, so that a register holds one dimension of eight or sixteen vectors; the
// scores of some codes times three registers then stay in registers while the dimensions go by. Where a code's step can be looked up by a
// permutation of registers (AVX-512, at most MOST_PERMUTED codes), a block stays transposed from stage to stage; otherwise what a stage
// leaves is computed row by row and transposed anew.

#include <atomic>
#include <memory>

#include "native.h"
#include "native_gram.h"
#include "native_preselect.h"

namespace {

constexpr int64_t FEW = 6;  // vectors up to which a block, most of which they would leave empty, costs more than one by one
constexpr int64_t MOST_PERMUTED = WIDE == 16 ? 64 : 0;
constexpr int64_t MANY = 512;  // vectors from which products with the vectors pay, since those in doubt fill a block of their own

// How many of the codes from `first` on are scored together: CODES, or the least power of two that holds the rest.
inline int64_t grouped(const Piece &piece, int64_t first) {
  int64_t group = CODES;
  while (group > 1 && piece.codes - first <= group / 2) group /= 2;
  return group;
}

// What a piece's codes take from the residual as (width, codes padded to registers), for `take_found`; nothing is needed elsewhere.
struct Steps {
  Buffer<float> columns;
  int64_t padded = 0;
  explicit Steps(const Piece &piece) {
    if (!piece.step) return;
    padded = piece.codes <= WIDE ? WIDE : piece.codes <= 2 * WIDE ? 2 * WIDE : 4 * WIDE;
    columns.assign(padded * piece.width, 0);
    for (int64_t code = 0; code < piece.codes; ++code)
      for (int64_t d = 0; d < piece.width; ++d) columns[d * padded + code] = piece.step[code * piece.width + d];
  }
};

struct Best {
  fw score[WIDES];
  iw index[WIDES];
};

#ifdef __AVX512F__
// Of a row of 16·N numbers those at 16 places.
template <int N> inline __m512 picked(const float *row, __m512i place) {
  const __m512 a = _mm512_loadu_ps(row);
  if constexpr (N == 1) return _mm512_permutexvar_ps(place, a);
  else if constexpr (N == 2) return _mm512_permutex2var_ps(a, place, _mm512_loadu_ps(row + 16));
  else
    return _mm512_mask_blend_ps(_mm512_test_epi32_mask(place, _mm512_set1_epi32(32)), picked<2>(row, place),
                                picked<2>(row + 32, place));
}
#endif

// What a piece of the stage before, of one register of codes, still has to take from some of a piece's dimensions.
struct Owed {
  int64_t width;
  const float *steps;  // (width, WIDE)
  const int32_t *found;
};

// The scores of a group of C codes for a block, and which are better than the best so far. Where fewer are left the last one is scored
// again, and wins nothing from itself. With OWED the block is what the stage before left once that is taken, in the same pass.
template <int C, bool OWED>
inline void score_group(const Piece &piece, int64_t first, float *x, [[maybe_unused]] const Owed *owed, Best &best) {
  const float *row[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) row[c] = piece.direction + std::min(first + c, piece.codes - 1) * (piece.width + 1);
  fw s[C][WIDES];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) s[c][k] = all_wide(row[c][piece.width]);
  const auto add = [&](int64_t d, const fw *a) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const fw e = all_wide(row[c][d]);
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) s[c][k] += e * a[k];
    }
  };
  fw a[WIDES];
  if constexpr (!OWED)
    for (int64_t d = 0; d < piece.width; ++d, x += BLOCK) {
#pragma GCC unroll 3
      for (int k = 0; k < WIDES; ++k) a[k] = load_wide(x + k * WIDE);
      add(d, a);
    }
#ifdef __AVX512F__
  else
    for (int64_t d = 0, end; d < piece.width; ++owed) {
      __m512i place[WIDES];
      std::memcpy(place, owed->found, sizeof place);
      const float *steps = owed->steps;
      for (end = d + owed->width; d < end; ++d, x += BLOCK, steps += WIDE) {
#pragma GCC unroll 3
        for (int k = 0; k < WIDES; ++k) {
          a[k] = load_wide(x + k * WIDE) - fw(picked<1>(steps, place[k]));
          store_wide(x + k * WIDE, a[k]);
        }
        add(d, a);
      }
    }
#endif
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) {
      const iw better = s[c][k] > best.score[k];
      best.score[k] = better ? s[c][k] : best.score[k];
      best.index[k] = better ? iw{} + int32_t(first + c) : best.index[k];
    }
}

template <bool OWED> inline void score_next(const Piece &piece, int64_t first, float *columns, const Owed *owed, Best &best) {
  switch (grouped(piece, first)) {
    case 1: score_group<1, OWED>(piece, first, columns, owed, best); break;
    case 2: score_group<2, OWED>(piece, first, columns, owed, best); break;
    case 4: score_group<4, OWED>(piece, first, columns, owed, best); break;
    default: score_group<CODES, OWED>(piece, first, columns, owed, best);
  }
}

// The best codes of the first `count` vectors of a block, or of all, the first of equal ones. `owed` is null where nothing is.
void search_block(const Piece &piece, float *columns, Preselect &preselect, int64_t count, int64_t column,
                  [[maybe_unused]] const Owed *owed, int32_t *found) {
  if (piece.bytes && preselect.search(piece.direction, piece.bytes, piece.codes, piece.width, columns, count, column, found)) return;
  Best best;
  for (int k = 0; k < WIDES; ++k) best.score[k] = all_wide(-std::numeric_limits<float>::infinity()), best.index[k] = iw{};
  int64_t first = 0;
#ifdef __AVX512F__
  if (owed) score_next<true>(piece, first, columns, owed, best), first += CODES;
#endif
  for (; first < piece.codes; first += CODES) score_next<false>(piece, first, columns, nullptr, best);
  std::memcpy(found, best.index, sizeof best.index);
}

#ifdef __AVX512F__
template <int N> void take_steps(const float *steps, int64_t width, const int32_t *found, float *columns) {
  __m512i place[WIDES];
  for (int k = 0; k < WIDES; ++k) place[k] = _mm512_loadu_si512(found + k * WIDE);
  for (int64_t d = 0; d < width; ++d, steps += N * WIDE, columns += BLOCK)
#pragma GCC unroll 3
    for (int k = 0; k < WIDES; ++k) {
      float *x = columns + k * WIDE;
      _mm512_storeu_ps(x, _mm512_sub_ps(_mm512_loadu_ps(x), picked<N>(steps, place[k])));
    }
}

// columns (width, BLOCK) −= the steps of the codes found.
void take_found(const Steps &steps, const Piece &piece, const int32_t *found, float *columns) {
  switch (steps.padded / WIDE) {
    case 1: take_steps<1>(steps.columns.data(), piece.width, found, columns); break;
    case 2: take_steps<2>(steps.columns.data(), piece.width, found, columns); break;
    default: take_steps<4>(steps.columns.data(), piece.width, found, columns);
  }
}
#else
void take_found(const Steps &, const Piece &, const int32_t *, float *) {}
#endif

// found (columns, BLOCK) → codes (count, columns).
void write_codes(const int32_t *found, int64_t count, int64_t columns, int64_t *codes) {
  int64_t done = 0;
#ifdef __AVX512F__
  for (; columns >= 4 && done + WIDE <= count; done += WIDE)
    for (int64_t c = 0; c < columns; c += 8) {  // eight codes of sixteen vectors are a tile
      const int64_t here = std::min<int64_t>(8, columns - c);
      const __mmask8 mask = __mmask8((1 << here) - 1);
      fw tile[8] = {};
      for (int64_t i = 0; i < here; ++i) std::memcpy(&tile[i], found + (c + i) * BLOCK + done, sizeof tile[i]);
      transpose(tile);
      for (int i = 0; i < 8; ++i) {
        const __m512i row = __m512i(tile[i]);
        int64_t *to = codes + (done + i) * columns + c;
        _mm512_mask_storeu_epi64(to, mask, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(row)));
        _mm512_mask_storeu_epi64(to + 8 * columns, mask, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(row, 1)));
      }
    }
#endif
  for (int64_t v = done; v < count; ++v)
    for (int64_t c = 0; c < columns; ++c) codes[v * columns + c] = found[c * BLOCK + v];
}

inline float sum(fw v) {
  float s[WIDE];
  store_wide(s, v);
  for (int half = WIDE / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) s[i] += s[i + half];
  return s[0];
}

// The best code of one vector: four products at a time.
int64_t search_one(const Piece &piece, const float *x) {
  constexpr int CODES = 4;
  const int64_t stride = piece.width + 1, whole = piece.width / WIDE * WIDE;
  float best = -std::numeric_limits<float>::infinity();
  int64_t found = 0;
  for (int64_t first = 0; first < piece.codes; first += CODES) {
    const int count = int(std::min<int64_t>(CODES, piece.codes - first));
    const float *rows[CODES];
    for (int c = 0; c < CODES; ++c) rows[c] = piece.direction + (first + std::min(c, count - 1)) * stride;
    fw a{}, b{}, c{}, d{};
    for (int64_t i = 0; i < whole; i += WIDE) {
      const fw v = load_wide(x + i);
      a += load_wide(rows[0] + i) * v, b += load_wide(rows[1] + i) * v, c += load_wide(rows[2] + i) * v,
          d += load_wide(rows[3] + i) * v;
    }
    float scores[CODES] = {sum(a), sum(b), sum(c), sum(d)};
    for (int k = 0; k < count; ++k) {
      for (int64_t i = whole; i < piece.width; ++i) scores[k] += rows[k][i] * x[i];
      scores[k] += rows[k][piece.width];
      if (scores[k] > best) best = scores[k], found = first + k;
    }
  }
  return found;
}

// Few vectors one by one, or blocks; the residual is computed row by row.
void search_rows(const Stages &q, bool blocks, const float *x, int64_t n, int64_t *codes) {
  const int64_t stride = (q.dim + LANES - 1) / LANES * LANES;
  Buffer<float> rows((blocks ? BLOCK : n) * stride, 0), columns(blocks ? BLOCK * stride : 0);
  alignas(64) int32_t found[BLOCK];
  Preselect preselect(q.dim, q.columns);
  for (int64_t start = 0; start < n; start += BLOCK) {
    const int64_t count = std::min<int64_t>(BLOCK, n - start);
    for (int64_t v = 0; v < count; ++v)
      for (int64_t d = 0; d < q.dim; ++d) rows[v * stride + d] = x[(start + v) * q.dim + d] - q.mean[d];
    int64_t column = 0;
    for (int64_t s = 0; s < q.stages; ++s) {
      if (blocks) transposed<BLOCK>(rows.data(), stride, q.dim, columns.data());
      for (int64_t p = 0; p < q.widths[s]; ++p, ++column) {
        const Piece &piece = q.pieces[column];
        if (blocks)
          search_block(piece, columns.data() + piece.begin * BLOCK, preselect, count, column, nullptr, found);
        else
          for (int64_t v = 0; v < count; ++v) found[v] = int32_t(search_one(piece, rows.data() + v * stride + piece.begin));
        for (int64_t v = 0; v < count; ++v) {
          codes[(start + v) * q.columns + column] = found[v];
          if (!piece.step) continue;
          float *row = rows.data() + v * stride + piece.begin;
          const float *step = piece.step + found[v] * piece.width;
          for (int64_t d = 0; d < piece.width; ++d) row[d] -= step[d];
        }
      }
    }
  }
}

// For each piece what it is owed by the stage before, piece by piece; empty where that is taken at once. It can wait where a register holds
// a step of all codes, and the next stage does not preselect.
std::vector<std::vector<Owed>> owed_to(const Stages &q, const std::vector<Steps> &steps, const int32_t *found) {
  std::vector<std::vector<Owed>> owed(q.columns);
  for (int64_t s = 0, before = 0; s + 1 < q.stages; before += q.widths[s], ++s) {
    const int64_t next = before + q.widths[s], end = next + q.widths[s + 1];
    if (WIDE != 16 || std::any_of(&steps[before], &steps[next], [](const Steps &step) { return step.padded != WIDE; }) ||
        std::any_of(q.pieces + next, q.pieces + end, [](const Piece &piece) { return piece.bytes; }))
      continue;
    for (int64_t c = next; c < end; ++c)
      for (int64_t b = before; b < next; ++b) {
        const Piece &giver = q.pieces[b], &taker = q.pieces[c];
        const int64_t from = std::max(giver.begin, taker.begin), to = std::min(giver.begin + giver.width, taker.begin + taker.width);
        if (from < to) owed[c].push_back({to - from, &steps[b].columns[(from - giver.begin) * WIDE], found + b * BLOCK});
      }
  }
  return owed;
}

// Blocks that stay transposed through all stages.
void search_columns(const Stages &q, const std::vector<Steps> &steps, const float *x, int64_t n, int64_t *codes) {
  const int64_t stride = (q.dim + LANES - 1) / LANES * LANES;
  Buffer<float> tail(BLOCK * stride, 0), columns(BLOCK * stride), mean(stride, 0);
  std::copy_n(q.mean, q.dim, mean.begin());
  Buffer<int32_t> found(BLOCK * q.columns);
  const std::vector<std::vector<Owed>> owed = owed_to(q, steps, found.data());
  Preselect preselect(q.dim, q.columns);
  for (int64_t start = 0; start < n; start += BLOCK) {
    const int64_t count = std::min<int64_t>(BLOCK, n - start);
    turn<BLOCK, true>(x + start * q.dim, count, q.dim, tail, columns, mean.data());
    const float *following = x + (start + BLOCK) * q.dim;
    const int64_t lines = n - start >= 2 * BLOCK && q.dim >= 32 ? BLOCK * q.dim / 16 : 0;  // of the cache; short rows come by themselves
    for (int64_t c = 0, s = 0, end = q.widths[0], line = 0; c < q.columns; ++c) {
      // the next block's, bit by bit while this one is computed
      for (const int64_t until = lines * (c + 1) / q.columns; line < until; ++line) __builtin_prefetch(following + line * 16, 0, 2);
      if (c == end) end += q.widths[++s];
      const Piece &piece = q.pieces[c];
      float *own = columns.data() + piece.begin * BLOCK;
      search_block(piece, own, preselect, count, c, owed[c].empty() ? nullptr : owed[c].data(), found.data() + c * BLOCK);
      if (piece.step && owed[end].empty()) take_found(steps[c], piece, found.data() + c * BLOCK, own);
    }
    write_codes(found.data(), count, q.columns, codes + start * q.columns);
  }
}

#ifdef PRESELECTS
bool all_finite(const float *x, int64_t count) {
  int32_t most = 0;  // as whole numbers, whose order is that of absolute values; a loop without branches
  for (int64_t i = 0; i < count; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    most = std::max(most, bits & 0x7fffffff);
  }
  return most < 0x7f800000;
}

// Blocks whose codes come from products with the vectors themselves; those in doubt are searched as above, many together. Where that is
// most of them, the next ones go there at once. Tells whether all numbers are finite; false also where it did not look at all of them.
template <int R>
bool search_products(const Gram &gram, const Stages &q, const std::vector<Steps> &steps, const float *x, int64_t n, int64_t *codes) {
  constexpr int64_t TOGETHER = 8 * BLOCK, REST = 16 * TOGETHER;
  const std::unique_ptr<GramSearch<R>> search(new GramSearch<R>(gram, q.mean));
  std::vector<int64_t> doubted;
  Buffer<float> rows;
  std::vector<int64_t> own;
  const auto search_doubted = [&] {
    rows.resize(doubted.size() * q.dim), own.resize(doubted.size() * q.columns);
    for (size_t i = 0; i < doubted.size(); ++i) std::copy_n(x + doubted[i] * q.dim, q.dim, &rows[i * q.dim]);
    search_columns(q, steps, rows.data(), doubted.size(), own.data());
    for (size_t i = 0; i < doubted.size(); ++i) std::copy_n(&own[i * q.columns], q.columns, codes + doubted[i] * q.columns);
    doubted.clear();
  };
  int64_t start = 0, tried = 0;
  bool finite = true;
  while (n - start >= BLOCK) {
    const float *block = x + start * q.dim;
    uint64_t doubt = search->search(block, n - start >= 2 * BLOCK ? block + BLOCK * q.dim : block);
    write_codes(search->found(), BLOCK, q.columns, codes + start * q.columns);
    for (; doubt; doubt &= doubt - 1) doubted.push_back(start + __builtin_ctzll(doubt));
    start += BLOCK, tried += BLOCK;
    if (doubted.size() < TOGETHER) continue;
    const int64_t rest = 2 * int64_t(doubted.size()) > tried ? std::min(REST, n - start) : 0;
    search_doubted();
    if (rest) search_columns(q, steps, x + start * q.dim, rest, codes + start * q.columns);
    finite &= !rest, start += rest, tried = 0;
  }
  finite &= search->finite() && all_finite(x + start * q.dim, (n - start) * q.dim);
  for (; start < n; ++start) doubted.push_back(start);
  if (!doubted.empty()) search_doubted();
  return finite;
}

bool search_gram(const Gram &gram, const Stages &q, const std::vector<Steps> &steps, const float *x, int64_t n, int64_t *codes) {
  switch (gram.registers) {
    case 1: return search_products<1>(gram, q, steps, x, n, codes);
    case 2: return search_products<2>(gram, q, steps, x, n, codes);
    default: return search_products<3>(gram, q, steps, x, n, codes);
  }
}
#else
bool search_gram(const Gram &, const Stages &, const std::vector<Steps> &, const float *, int64_t, int64_t *) { return false; }
#endif

constexpr int MOST_STAGES = 8;

constexpr int SIGNED = 2 * WIDE;  // vectors whose signs are found at once: the bits of an int64_t hold one of each

// Signs of S stages of two-code pieces, see signs.py.
template <int S>
void sign_rows(const float *x, int64_t n, int64_t pieces, int64_t width, const float *difference, const float *middle,
               const float *threshold, const float *product, int64_t *codes) {
  const int64_t dim = pieces * width, stride = (dim + LANES - 1) / LANES * LANES, columns = S * pieces;
  Buffer<float> tail(SIGNED * stride, 0), turned(SIGNED * stride);
  std::vector<int64_t> chosen(columns);  // of each column a bit for every vector
  constexpr int MANY = sizeof(lw) / sizeof(int64_t);
  for (int64_t start = 0; start < n; start += SIGNED) {
    const int64_t count = std::min<int64_t>(SIGNED, n - start);
    turn<SIGNED>(x + start * dim, count, dim, tail, turned);
    for (int64_t p = 0; p < pieces; ++p) {
      fw low[S] = {}, high[S] = {};
      const float *column = turned.data() + p * width * SIGNED, *of_piece = difference + p * width * S;
      for (int64_t d = 0; d < width; ++d, column += SIGNED, of_piece += S) {
        const fw m = all_wide(middle[p * width + d]), a = load_wide(column) - m, b = load_wide(column + WIDE) - m;
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) low[s] += a * of_piece[s], high[s] += b * of_piece[s];
      }
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) {
        const iw one = low[s] > threshold[s * pieces + p], two = high[s] > threshold[s * pieces + p];
        chosen[s * pieces + p] = bits_of(one) | bits_of(two) << WIDE;
        const fw a = one ? all_wide(0.5f) : all_wide(-0.5f), b = two ? all_wide(0.5f) : all_wide(-0.5f);
#pragma GCC unroll 8
        for (int t = s + 1; t < S; ++t) {
          const float g = product[(t * S + s) * pieces + p];
          low[t] -= a * g, high[t] -= b * g;
        }
      }
    }
    for (int64_t v = 0; v < count; ++v) {
      int64_t *out = codes + (start + v) * columns, c = 0;
      for (; c + MANY <= columns; c += MANY) {
        lw many;
        std::memcpy(&many, &chosen[c], sizeof many);
        many = many >> v & 1;
        std::memcpy(out + c, &many, sizeof many);
      }
      for (; c < columns; ++c) out[c] = chosen[c] >> v & 1;
    }
  }
}

// R registers of Σ of N rows, added in their order: row after row, for a processor fetches what follows in a row before it is read.
template <int N, int R> inline void add_part(const float *const *rows, int64_t d, float *out) {
  fw total[R];
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) total[k] = load_wide(rows[0] + d + k * WIDE) + all_wide(0);  // −0 becomes 0, as in a sum that begins with 0
#pragma GCC unroll 8
  for (int i = 1; i < N; ++i)
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) total[k] += load_wide(rows[i] + d + k * WIDE);
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) store_wide(out + d + k * WIDE, total[k]);
}

// out = Σ of N rows.
template <int N> void add_rows(const float *const *rows, int64_t dim, float *out) {
  const float *r[N];
  std::copy_n(rows, N, r);
  int64_t d = 0;
  for (; d + 8 * WIDE <= dim; d += 8 * WIDE) add_part<N, 8>(r, d, out);
  for (; d + 4 * WIDE <= dim; d += 4 * WIDE) add_part<N, 4>(r, d, out);
  for (; d + WIDE <= dim; d += WIDE) add_part<N, 1>(r, d, out);
  for (; d < dim; ++d) {
    float total = 0;
    for (int i = 0; i < N; ++i) total += r[i][d];
    out[d] = total;
  }
}

struct Sums {
  int64_t columns, stages, dim;
  const int64_t *widths, *sizes;
  const float *const *tables;
};

// Σ of rows of the stages' tables, whose index is made of the codes of the pieces. A stage all of whose codes are −1 adds nothing; false
// where only some are.
bool sum_rows(const Sums &q, const int64_t *codes, int64_t n, float *out) {
  static void (*const add[])(const float *const *, int64_t, float *) = {
      add_rows<1>, add_rows<2>, add_rows<3>, add_rows<4>, add_rows<5>, add_rows<6>, add_rows<7>, add_rows<8>};
  std::vector<const float *> rows(q.stages);
  for (int64_t v = 0; v < n; ++v, codes += q.columns, out += q.dim) {
    int64_t column = 0, used = 0;
    if (q.columns == q.stages)  // one code a stage
      for (; column < q.columns; ++column) {
        if (codes[column] >= 0) rows[used++] = q.tables[column] + codes[column] * q.dim;
      }
    for (int64_t s = 0; column < q.columns; ++s) {
      int64_t index = 0, gone = 0;
      for (int64_t p = 0; p < q.widths[s]; ++p, ++column) {
        index = index * q.sizes[column] + codes[column];
        gone += codes[column] < 0;
      }
      if (gone && gone < q.widths[s]) return false;
      if (!gone) rows[used++] = q.tables[s] + index * q.dim;
    }
    if (!used) std::memset(out, 0, q.dim * sizeof(float));
    for (int64_t first = 0, here; first < used; first += here) {
      if (first) rows[--first] = out;  // the sum so far
      here = std::min<int64_t>(8, used - first);
      add[here - 1](rows.data() + first, q.dim, out);
    }
  }
  return true;
}

// Stages that cut the vector alike: each piece's codes, −1 among them, are one number to the base `base`, the row of the piece's sum.
inline void number_pieces(const int64_t *codes, int64_t stages, int64_t pieces, int64_t base, int64_t *index) {
#if WIDE == 16
  for (int64_t p = 0; p < pieces; p += 8) {  // a mask, for eight codes would reach beyond the last vector's
    const __mmask8 here = pieces - p < 8 ? __mmask8((1 << (pieces - p)) - 1) : __mmask8(255);
    __m512i number = _mm512_setzero_si512();
    for (int64_t s = 0; s < stages; ++s) {
      const __m512i digit = _mm512_add_epi64(_mm512_maskz_loadu_epi64(here, codes + s * pieces + p), _mm512_set1_epi64(1));
      number = _mm512_add_epi64(_mm512_mullo_epi64(number, _mm512_set1_epi64(base)), digit);
    }
    _mm512_storeu_si512(index + p, number);  // whole: what a masked store has written takes long to be read
  }
#else
  for (int64_t p = 0; p < pieces; ++p) {
    index[p] = 0;
    for (int64_t s = 0; s < stages; ++s) index[p] = index[p] * base + codes[s * pieces + p] + 1;
  }
#endif
}

// Short rows: a call of memcpy takes longer than they do. What is left of a row goes in registers of its own size, since a store that lies
// in two lines of the cache counts twice.
inline void copy_row(const float *from, int64_t width, float *to) {
  int64_t d = 0;
  for (; d + WIDE <= width; d += WIDE) store_wide(to + d, load_wide(from + d));
  if (WIDE > LANES && d + LANES <= width) store(to + d, load(from + d)), d += LANES;
  for (; d + 4 <= width; d += 4) std::memcpy(to + d, from + d, 4 * sizeof(float));
  for (; d < width; ++d) to[d] = from[d];
}

void copy_rows(const int64_t *codes, int64_t n, int64_t stages, int64_t pieces, int64_t width, int64_t base, const float *table,
               int64_t rows, float *out) {
  std::vector<int64_t> index(pieces + 7);  // of eight at a time
  for (int64_t v = 0; v < n; ++v, codes += stages * pieces) {
    number_pieces(codes, stages, pieces, base, index.data());
    for (int64_t p = 0; p < pieces; ++p, out += width) copy_row(table + (p * rows + index[p]) * width, width, out);
  }
}

std::vector<Piece> pieces_of(const int64_t *layout, int64_t columns) {
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < columns; ++i, layout += 6)
    pieces.push_back({layout[0], layout[1], layout[2], reinterpret_cast<const float *>(layout[3]),
                      reinterpret_cast<const float *>(layout[4]), reinterpret_cast<int32_t *>(layout[5])});
  return pieces;
}

}  // namespace

extern "C" {

// Size of what `vqkit_preselect` writes; 0 where it would gain nothing, or cannot run.
int64_t vqkit_preselect_words(int64_t codes, int64_t width) { return preselect_words(codes, width); }

// The 8-bit table of `direction`, for the layout of `vqkit_search`.
void vqkit_preselect(const float *direction, int64_t codes, int64_t width, int32_t *out) { prepare(direction, codes, width, out); }

// What `vqkit_search` takes to compute codes from products with the vectors themselves; null where these stages do not suit.
void *vqkit_gram(int64_t dim, const int64_t *layout, int64_t columns, int64_t stages) {
  const std::vector<Piece> pieces = pieces_of(layout, columns);
  const Stages q{pieces.data(), layout + 6 * columns, stages, dim, columns, nullptr};
  return suits_gram(q) ? gram_of(q).release() : nullptr;
}

void vqkit_gram_free(void *gram) { delete static_cast<Gram *>(gram); }

// codes: (n, columns). layout: begin, width, codes, address of direction, address of step, address of the 8-bit table (null without one)
// for every piece; then the pieces of each stage. gram: from `vqkit_gram`, or null. 1 if it has seen that all of x is finite.
int vqkit_search(const float *x, int64_t n, int64_t dim, const int64_t *layout, int64_t columns, int64_t stages,
                 const float *mean, const void *gram, int64_t threads, int64_t *codes) {
  const std::vector<Piece> pieces = pieces_of(layout, columns);
  const bool blocks = n > FEW, permuted = blocks && std::all_of(pieces.begin(), pieces.end(), [](const Piece &piece) {
    return !piece.step ? WIDE == 16 : piece.codes <= MOST_PERMUTED;
  });
  std::vector<Steps> steps;
  if (permuted)
    for (const Piece &piece : pieces) steps.emplace_back(piece);
  const Stages q{pieces.data(), layout + 6 * columns, stages, dim, columns, mean};
  std::atomic<bool> finite{true};
  parts(n, threads, [&](int64_t first, int64_t count) {
    const float *own = x + first * dim;
    int64_t *out = codes + first * columns;
    bool seen = false;
    if (gram && count >= MANY) seen = search_gram(*static_cast<const Gram *>(gram), q, steps, own, count, out);
    else if (permuted) search_columns(q, steps, own, count, out);
    else search_rows(q, blocks, own, count, out);
    if (!seen) finite = false;
  });
  return finite;
}

// difference: (pieces, width, stages); middle: (pieces, width); threshold: (stages, pieces); product: (stages, stages, pieces).
void vqkit_signs(const float *x, int64_t n, int64_t stages, int64_t pieces, int64_t width, const float *difference,
                 const float *middle, const float *threshold, const float *product, int64_t threads, int64_t *codes) {
  static void (*const rows[MOST_STAGES])(const float *, int64_t, int64_t, int64_t, const float *, const float *, const float *,
                                         const float *, int64_t *) = {
      sign_rows<1>, sign_rows<2>, sign_rows<3>, sign_rows<4>, sign_rows<5>, sign_rows<6>, sign_rows<7>, sign_rows<8>};
  parts(n, threads, [&](int64_t first, int64_t count) {
    rows[stages - 1](x + first * pieces * width, count, pieces, width, difference, middle, threshold, product,
                     codes + first * stages * pieces);
  });
}

// 1, or 0 where a stage has some codes −1 and others not.
int vqkit_sums(const int64_t *codes, int64_t n, int64_t columns, int64_t stages, const int64_t *widths, const int64_t *sizes,
               const float *const *tables, int64_t dim, int64_t threads, float *out) {
  const Sums q{columns, stages, dim, widths, sizes, tables};
  std::vector<char> whole(n / BLOCK + 1, 1);
  parts(n, threads, [&](int64_t first, int64_t count) {
    whole[first / BLOCK] = sum_rows(q, codes + first * columns, count, out + first * dim);
  });
  return std::all_of(whole.begin(), whole.end(), [](char ok) { return ok; });
}

// 1 if all of n codes are in −1 … size − 1.
int vqkit_within(const int64_t *codes, int64_t n, int64_t size) {
  constexpr int MANY = sizeof(uw) / sizeof(uint64_t);
  const uint64_t most = uint64_t(size);
  lw outside = {};
  int64_t i = 0;
  for (; i + MANY <= n; i += MANY) {
    uw many;
    std::memcpy(&many, codes + i, sizeof many);
    outside |= many + 1 > most;  // −2 and what is below become the largest numbers without sign
  }
  int64_t any = 0;
  for (int lane = 0; lane < MANY; ++lane) any |= outside[lane];
  for (; i < n; ++i) any |= uint64_t(codes[i]) + 1 > most;
  return any == 0;
}

// table: (pieces, rows, width).
void vqkit_copies(const int64_t *codes, int64_t n, int64_t stages, int64_t pieces, int64_t width, int64_t base, const float *table,
                  int64_t rows, int64_t threads, float *out) {
  parts(n, threads, [&](int64_t first, int64_t count) {
    copy_rows(codes + first * stages * pieces, count, stages, pieces, width, base, table, rows, out + first * pieces * width);
  });
}
}
