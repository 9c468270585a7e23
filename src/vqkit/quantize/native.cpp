// Searches and sums of small codebooks in one pass over the vectors. The plain twins are in search.py, signs.py and tables.py, which say
// what is computed and why; here is only how.
//
// Vectors are searched in blocks of BLOCK. A block is transposed, so that a register holds one dimension of eight vectors; four codes times
// three registers of scores then stay in registers while the dimensions go by. What a stage leaves is computed row by row.

#include "native.h"

namespace {

constexpr int CODES = 4;    // codes whose scores are summed at once
constexpr int64_t FEW = 6;  // vectors up to which a block is not worth its transposition

// One piece of one stage. `direction` is (codes, width + 1), the last column −½‖e‖²; `step` (codes, width) is what a code takes from the
// residual, null in the last stage.
struct Piece {
  int64_t begin, width, codes;
  const float *direction, *step;
};

// Codes of a group of four, side by side for each dimension; where there are fewer than four, the rest can win no vector.
struct Packed {
  std::vector<float> groups, bias;
  explicit Packed(const Piece &piece) {
    const int64_t count = (piece.codes + CODES - 1) / CODES;
    groups.assign(count * CODES * piece.width, 0);
    bias.assign(count * CODES, -std::numeric_limits<float>::infinity());
    for (int64_t code = 0; code < piece.codes; ++code) {
      const float *row = piece.direction + code * (piece.width + 1);
      float *group = groups.data() + code / CODES * CODES * piece.width + code % CODES;
      for (int64_t d = 0; d < piece.width; ++d) group[d * CODES] = row[d];
      bias[code] = row[piece.width];
    }
  }
};

// The best code of every vector of a block, the first of equal ones.
void search_block(const Packed &packed, const Piece &piece, const float *columns, int32_t *found) {
  f8 best[3];
  i8 index[3] = {};
  for (auto &b : best) b = all(-std::numeric_limits<float>::infinity());
  for (int64_t first = 0; first < piece.codes; first += CODES) {
    const float *group = packed.groups.data() + first * piece.width, *x = columns;
    f8 s00, s01, s02, s10, s11, s12, s20, s21, s22, s30, s31, s32;
    s00 = s01 = s02 = all(packed.bias[first]);
    s10 = s11 = s12 = all(packed.bias[first + 1]);
    s20 = s21 = s22 = all(packed.bias[first + 2]);
    s30 = s31 = s32 = all(packed.bias[first + 3]);
    for (int64_t d = 0; d < piece.width; ++d, x += BLOCK, group += CODES) {
      const f8 a = load(x), b = load(x + 8), c = load(x + 16);
      f8 e = all(group[0]);
      s00 += e * a, s01 += e * b, s02 += e * c;
      e = all(group[1]);
      s10 += e * a, s11 += e * b, s12 += e * c;
      e = all(group[2]);
      s20 += e * a, s21 += e * b, s22 += e * c;
      e = all(group[3]);
      s30 += e * a, s31 += e * b, s32 += e * c;
    }
    const f8 scores[CODES][3] = {{s00, s01, s02}, {s10, s11, s12}, {s20, s21, s22}, {s30, s31, s32}};
    for (int c = 0; c < CODES; ++c) {
      const int32_t number = int32_t(first + c);
      const i8 code = {number, number, number, number, number, number, number, number};
      for (int lane = 0; lane < 3; ++lane) {
        const i8 better = scores[c][lane] > best[lane];
        best[lane] = better ? scores[c][lane] : best[lane];
        index[lane] = better ? code : index[lane];
      }
    }
  }
  std::memcpy(found, index, sizeof index);
}

inline float sum(f8 v) {
  float s[8];
  store(s, v);
  return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

// The best code of one vector: four products at a time.
int64_t search_one(const Piece &piece, const float *x) {
  const int64_t stride = piece.width + 1, whole = piece.width / LANES * LANES;
  float best = -std::numeric_limits<float>::infinity();
  int64_t found = 0;
  for (int64_t first = 0; first < piece.codes; first += CODES) {
    const int count = int(std::min<int64_t>(CODES, piece.codes - first));
    const float *rows[CODES];
    for (int c = 0; c < CODES; ++c) rows[c] = piece.direction + (first + std::min(c, count - 1)) * stride;
    f8 a{}, b{}, c{}, d{};
    for (int64_t i = 0; i < whole; i += LANES) {
      const f8 v = load(x + i);
      a += load(rows[0] + i) * v, b += load(rows[1] + i) * v, c += load(rows[2] + i) * v, d += load(rows[3] + i) * v;
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

struct Stages {
  const Piece *pieces;
  const int64_t *widths;  // pieces of each stage
  int64_t stages, dim, columns;
  const float *mean;  // of the first stage's codes
};

void search_rows(const Stages &q, const std::vector<Packed> &packed, const float *x, int64_t n, int64_t *codes) {
  const int64_t stride = (q.dim + LANES - 1) / LANES * LANES;
  std::vector<float> rows(BLOCK * stride, 0), columns(BLOCK * stride);
  int32_t found[BLOCK];
  for (int64_t start = 0; start < n; start += BLOCK) {
    const int64_t count = std::min<int64_t>(BLOCK, n - start);
    for (int64_t v = 0; v < count; ++v)
      for (int64_t d = 0; d < q.dim; ++d) rows[v * stride + d] = x[(start + v) * q.dim + d] - q.mean[d];
    int64_t column = 0;
    for (int64_t s = 0; s < q.stages; ++s) {
      if (!packed.empty()) transposed<BLOCK>(rows.data(), stride, q.dim, columns.data());
      for (int64_t p = 0; p < q.widths[s]; ++p, ++column) {
        const Piece &piece = q.pieces[column];
        if (packed.empty())
          for (int64_t v = 0; v < count; ++v) found[v] = int32_t(search_one(piece, rows.data() + v * stride + piece.begin));
        else
          search_block(packed[column], piece, columns.data() + piece.begin * BLOCK, found);
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

constexpr int MOST_STAGES = 8;

// Signs of S stages of two-code pieces, see signs.py: 16 vectors at once.
template <int S>
void sign_rows(const float *x, int64_t n, int64_t pieces, int64_t width, const float *difference, const float *middle,
               const float *threshold, const float *product, int64_t *codes) {
  const int64_t dim = pieces * width, stride = (dim + LANES - 1) / LANES * LANES, columns = S * pieces;
  std::vector<float> tail(ROWS * stride, 0), turned(ROWS * stride);
  std::vector<int64_t> chosen(columns);  // of each column a bit for every vector
  for (int64_t start = 0; start < n; start += ROWS) {
    const int64_t count = std::min<int64_t>(ROWS, n - start);
    turn(x + start * dim, count, dim, tail, turned);
    for (int64_t p = 0; p < pieces; ++p) {
      f8 low[S] = {}, high[S] = {};
      const float *column = turned.data() + p * width * ROWS, *of_piece = difference + p * width * S;
      for (int64_t d = 0; d < width; ++d, column += ROWS, of_piece += S) {
        const f8 a = load(column) - middle[p * width + d], b = load(column + 8) - middle[p * width + d];
#pragma GCC unroll 8
        for (int s = 0; s < S; ++s) low[s] += a * of_piece[s], high[s] += b * of_piece[s];
      }
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) {
        const i8 one = low[s] > threshold[s * pieces + p], two = high[s] > threshold[s * pieces + p];
        chosen[s * pieces + p] = bits_of(one) | bits_of(two) << LANES;
        const f8 a = one ? all(0.5f) : all(-0.5f), b = two ? all(0.5f) : all(-0.5f);
#pragma GCC unroll 8
        for (int t = s + 1; t < S; ++t) {
          const float g = product[(t * S + s) * pieces + p];
          low[t] -= a * g, high[t] -= b * g;
        }
      }
    }
    for (int64_t v = 0; v < count; ++v) {
      int64_t *out = codes + (start + v) * columns, c = 0;
      for (; c + 4 <= columns; c += 4) {
        l4 four;
        std::memcpy(&four, &chosen[c], sizeof four);
        four = four >> v & 1;
        std::memcpy(out + c, &four, sizeof four);
      }
      for (; c < columns; ++c) out[c] = chosen[c] >> v & 1;
    }
  }
}

// R registers of Σ of N rows, added in their order: row after row, for a processor fetches what follows in a row before it is read.
template <int N, int R> inline void add_part(const float *const *rows, int64_t d, float *out) {
  f8 total[R];
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) total[k] = load(rows[0] + d + k * LANES) + all(0);  // −0 becomes 0, as in a sum that begins with 0
#pragma GCC unroll 8
  for (int i = 1; i < N; ++i)
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) total[k] += load(rows[i] + d + k * LANES);
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) store(out + d + k * LANES, total[k]);
}

// out = Σ of N rows.
template <int N> void add_rows(const float *const *rows, int64_t dim, float *out) {
  const float *r[N];
  std::copy_n(rows, N, r);
  int64_t d = 0;
  for (; d + 8 * LANES <= dim; d += 8 * LANES) add_part<N, 8>(r, d, out);
  for (; d + 2 * LANES <= dim; d += 2 * LANES) add_part<N, 2>(r, d, out);
  for (; d + LANES <= dim; d += LANES) add_part<N, 1>(r, d, out);
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
    switch (used) {
      case 0: std::memset(out, 0, q.dim * sizeof(float)); break;
      case 1: add_rows<1>(rows.data(), q.dim, out); break;
      case 2: add_rows<2>(rows.data(), q.dim, out); break;
      case 3: add_rows<3>(rows.data(), q.dim, out); break;
      case 4: add_rows<4>(rows.data(), q.dim, out); break;
      case 8: add_rows<8>(rows.data(), q.dim, out); break;
      default:
        for (int64_t d = 0; d < q.dim; ++d) {
          float total = 0;
          for (int64_t i = 0; i < used; ++i) total += rows[i][d];
          out[d] = total;
        }
    }
  }
  return true;
}

// Stages that cut the vector alike: each piece's codes, −1 among them, are one number to the base `base`, the row of the piece's sum.
void copy_rows(const int64_t *codes, int64_t n, int64_t stages, int64_t pieces, int64_t width, int64_t base, const float *table,
               int64_t rows, float *out) {
  for (int64_t v = 0; v < n; ++v, codes += stages * pieces)
    for (int64_t p = 0; p < pieces; ++p, out += width) {
      int64_t index = 0;
      for (int64_t s = 0; s < stages; ++s) index = index * base + codes[s * pieces + p] + 1;
      std::memcpy(out, table + (p * rows + index) * width, width * sizeof(float));
    }
}

}  // namespace

extern "C" {

// codes: (n, columns). layout: begin, width, codes, address of direction, address of step for every piece; then the pieces of each stage.
void vqkit_search(const float *x, int64_t n, int64_t dim, const int64_t *layout, int64_t columns, int64_t stages,
                  const float *mean, int64_t threads, int64_t *codes) {
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < columns; ++i, layout += 5)
    pieces.push_back({layout[0], layout[1], layout[2], reinterpret_cast<const float *>(layout[3]),
                      reinterpret_cast<const float *>(layout[4])});
  std::vector<Packed> packed;
  if (n > FEW)
    for (const Piece &piece : pieces) packed.emplace_back(piece);
  const Stages q{pieces.data(), layout, stages, dim, columns, mean};
  parts(n, threads, [&](int64_t first, int64_t count) { search_rows(q, packed, x + first * dim, count, codes + first * columns); });
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
  l4 outside = {};
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    l4 four;
    std::memcpy(&four, codes + i, sizeof four);
    outside |= (four < -1) | (four >= size);
  }
  int64_t any = outside[0] | outside[1] | outside[2] | outside[3];
  for (; i < n; ++i) any |= codes[i] < -1 || codes[i] >= size;
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
