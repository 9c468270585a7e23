// Tables for native_gram.h: what it needs to score the codes of all stages by products with the vector itself.
//
// Stages take steps p_j, each its code's, from the vector y one after the other, r = y − Σ p_j, and score b_c + r·e_c. That is
// b_c + y·e_c − Σ p_j·e_c, whose products with y need no residual. The p_j·e_c are numbers of the tables (Gram matrices of steps and
// codes), which are looked up by the codes chosen before.
//
// The products are of whole numbers. y = ŷ + (y − ŷ) with ŷ = s·q, s = max|y| / MOST_WHOLE and whole q; e = ê + δ with ê = t·w and whole
// w. As in native_preselect.h two codes' approximations differ as their scores do, up to
//
//   ‖y − ŷ‖ max‖ê_c − ê_c'‖ + ‖y‖ max‖δ_c − δ_c'‖ + rounding.
//
// For the early stages, of few codes, q and w have 14 bits or so; for the last one, of many codes, both have 8 bits, and the codes that
// this leaves are scored by 14 bits. One or two vectors of a hundred stay in doubt, and are searched as ever.
//
// Rounding. Let u = 2⁻²⁴ and P = Σ max‖p_j‖ over the k ≤ MOST_EARLY stages before. The search that defines the codes (native.cpp) takes
// steps from a float residual, each coordinate off by at most k u (|y| + Σ|p_j|) (1 + tiny) in the end, and sums a score in `width` rounded
// steps:
//
//   |score − exact|  ≤  (width + k + 1) u (|b_c| + (‖y‖ + P) ‖e_c‖) (1 + tiny).
//
// An approximation has fewer than 25 roundings of numbers that are at most twice as large (differences to code 0): of the whole sum to a
// float, of floats from all lanes added, two multiplications, the sum with b_c, and each number looked up with its subtraction. So
// 2 (width + 64) u (max|b| + (‖y‖ + P) max‖e‖) covers the scores of two codes, computed in both ways: where the best approximation is
// further ahead than all this, its code is the one that is found otherwise. Of equal scores none is ahead: these too are searched as ever.
// A result that is flushed to zero takes at most the smallest float more, as long as it is a score that is flushed: so sums are multiplied
// by t and then by s, and never by s·t.

#pragma once

#include <memory>

#include "native_preselect.h"

namespace {

// One piece of one stage. `direction` is (codes, width + 1), the last column −½‖e‖²; `step` (codes, width) is what a code takes from the
// residual, null in the last stage.
struct Piece {
  int64_t begin, width, codes;
  const float *direction, *step;
  int32_t *bytes;
};

struct Stages {
  const Piece *pieces;
  const int64_t *widths;  // pieces of each stage
  int64_t stages, dim, columns;
  const float *mean;  // of the first stage's codes
};

#ifdef PRESELECTS

constexpr int64_t MOST_WHOLE = 127 * 128;  // |q|, which is at most 127 when it is rounded to 8 bits
constexpr int64_t MOST_SUM = ((int64_t(1) << 31) - 1) / MOST_WHOLE;  // Σ|w|, so that no sum of products overflows
constexpr int64_t BYTES = 64;              // 8-bit numbers in a register
constexpr int64_t MOST_REGISTERS = 3;      // of them, of a vector
constexpr int64_t MOST_EARLY = 3;          // stages before the last
constexpr int64_t MOST_COLUMNS = 32;       // pieces of all stages
constexpr int64_t MOST_COMPOSED = 64;      // codes of an early stage, all pieces together
constexpr int64_t MANY_ALIKE = 3;          // pieces of two codes that are scored together: one alone waits for its products
constexpr double LARGE = 1e15;             // ‖e‖, ‖p_j‖, max|y| up to which no score can overflow
constexpr float SMALL = 1e-30f;            // max|y| and t from which 1 / s and 1 / t cannot

// How far apart two approximations must be: ‖y − ŷ‖·of_error + ‖y‖·of_norm + constant.
struct Bound {
  float of_error, of_norm, constant;
};

// A piece of an early stage. All is less what code 0 has, whose score then is 0: one product less.
struct Early {
  // Pieces of an earlier stage that share dimensions, as many as have WIDE codes together.
  struct Before {
    int64_t first, end;     // columns
    Buffer<float> product;  // (others, WIDE): what their composed codes take from each score
  };
  int64_t begin, width, codes, stage;
  int64_t alike;              // pieces of as many codes, from this one on, that are scored together
  int64_t others;             // codes but the first
  Buffer<int32_t> pairs;      // (width / 2, others): w of two dimensions
  Buffer<float> scale, bias;  // (others,): t, b
  std::vector<Before> before;
  Bound bound;
};

// The last stage, of one piece.
struct Last {
  Buffer<int32_t> quads, start;        // (quads, TILE): w of four dimensions; (TILE,): −128 Σ w, since q + 128 is what is multiplied
  Buffer<float> scale;                 // (TILE,): t
  Buffer<int16_t> words;               // (TILE, registers · BYTES): w of 16 bits, in the order of packed numbers
  Buffer<float> word_scale;
  std::vector<Buffer<float>> product;  // of each early stage (composed codes, TILE): what its codes take from each score; −b in the first
  Bound bound, word_bound;
};

struct Gram {
  int64_t dim, registers, quads;
  std::vector<Early> early;
  Last last;
};

// max‖e‖, max|b| and P, which say how much is lost by rounding.
struct Sizes {
  double code = 0, bias = 0, steps = 0;

  Sizes(const Stages &q, int64_t column, int64_t stage) {
    const Piece &own = q.pieces[column];
    for (int64_t c = 0; c < own.codes; ++c) {
      code = larger(code, norm(own.direction + c * (own.width + 1), own.width));
      bias = larger(bias, std::abs(double(own.direction[c * (own.width + 1) + own.width])));
    }
    for (int64_t s = 0, first = 0; s < stage; first += q.widths[s], ++s) {
      double square = 0;
      for (int64_t p = first; p < first + q.widths[s]; ++p) {
        const Piece &piece = q.pieces[p];
        double most = 0;
        for (int64_t c = 0; c < piece.codes; ++c) most = larger(most, norm(piece.step + c * piece.width, piece.width));
        if (shared(piece, own)) square += most * most;
      }
      steps += std::sqrt(square);
    }
  }

  static double norm(const float *v, int64_t width) {
    return std::sqrt(std::accumulate(v, v + width, 0.0, [](double sum, float a) { return sum + double(a) * a; }));
  }

  static bool shared(const Piece &a, const Piece &b) { return a.begin < b.begin + b.width && b.begin < a.begin + a.width; }

  bool fit() const { return code <= LARGE && steps <= LARGE && bias <= LARGE * LARGE; }  // false for NaN

  // `whole` are the ê and `missed` the δ: (codes, width padded to LANES).
  Bound bound(const Buffer<float> &whole, const Buffer<float> &missed, int64_t codes, int64_t width) const {
    const double rounding = 2 * (width + 64) * std::ldexp(1.0, -24), wider = 1.001;
    // where small results are flushed to zero, each rounding may take as much as the smallest float
    const double constant = rounding * (bias + steps * code + std::ldexp(std::numeric_limits<float>::min(), 24));
    const int64_t floats = padded(width, LANES);
    const double of_norm = widest(missed, codes, floats) + rounding * code;
    return {float(wider * widest(whole, codes, floats)), float(wider * of_norm), float(wider * constant)};
  }
};

// What the codes of pieces first … end − 1 of one stage, composed, take from the scores of a piece of a later one, beside `there`:
// (composed codes, scores there). If `there` has more scores than the piece has codes, those stay as they are.
inline std::vector<double> composed(const Stages &q, int64_t first, int64_t end, const Piece &piece, std::vector<double> there) {
  const int64_t scores = there.size();
  for (int64_t p = first; p < end; ++p) {
    const Piece &giver = q.pieces[p];
    const int64_t from = std::max(giver.begin, piece.begin), to = std::min(giver.begin + giver.width, piece.begin + piece.width);
    std::vector<double> own(giver.codes * scores, 0), more;
    for (int64_t j = 0; j < giver.codes; ++j)
      for (int64_t c = 0; c < piece.codes; ++c) {
        const float *step = giver.step + j * giver.width, *e = piece.direction + c * (piece.width + 1);
        for (int64_t d = from; d < to; ++d) own[j * scores + c] += double(step[d - giver.begin]) * e[d - piece.begin];
      }
    for (size_t i = 0; i < there.size(); i += scores)
      for (int64_t j = 0; j < giver.codes * scores; ++j) more.push_back(there[i + j % scores] + own[j]);
    there = more;
  }
  return there;
}

// Numbers e as t·w with |w| ≤ most and Σ|w| ≤ sum. What is so small that t would vanish counts as zeros.
inline float in_whole_numbers(const std::vector<double> &e, int64_t most, int64_t sum, int32_t *whole) {
  double highest = 0, all = 0;
  for (double a : e) highest = std::max(highest, std::abs(a)), all += std::abs(a);
  const float t = float(std::max(highest / (most - 0.01), all / (sum - double(e.size()))));
  for (size_t d = 0; d < e.size(); ++d) whole[d] = t < SMALL ? 0 : int32_t(std::lrint(e[d] / t));
  return t < SMALL ? 0 : t;
}

inline Early early_piece(const Stages &q, int64_t column, int64_t stage, const std::vector<int64_t> &stage_of) {
  const Piece &piece = q.pieces[column];
  const int64_t width = piece.width, floats = padded(width, LANES), others = piece.codes - 1;
  Early early{piece.begin, width, piece.codes, stage, 1, others, {}, {}, {}, {}, {}};
  Buffer<float> approximate(piece.codes * floats, 0), missed(piece.codes * floats, 0);
  std::vector<int32_t> whole(width);
  std::vector<double> gap(width);
  early.pairs.resize(width / 2 * others);
  for (int64_t c = 1; c < piece.codes; ++c) {
    const float *first = piece.direction, *own = first + c * (width + 1);
    for (int64_t d = 0; d < width; ++d) gap[d] = double(own[d]) - first[d];
    const float t = in_whole_numbers(gap, 32767, MOST_SUM, whole.data());
    for (int64_t d = 0; d < width; ++d) {
      approximate[c * floats + d] = t * whole[d], missed[c * floats + d] = float(gap[d] - double(t) * whole[d]);
      early.pairs[d / 2 * others + c - 1] |= int32_t(uint32_t(uint16_t(whole[d])) << 16 * (d % 2));
    }
    early.scale.push_back(t), early.bias.push_back(own[width] - first[width]);
  }
  for (int64_t b = 0, end; stage_of[b] < stage; b = end) {
    int64_t codes = q.pieces[b].codes;
    end = b + 1;
    if (!Sizes::shared(q.pieces[b], piece)) continue;
    for (; stage_of[end] == stage_of[b] && Sizes::shared(q.pieces[end], piece) && codes * q.pieces[end].codes <= WIDE; ++end)
      codes *= q.pieces[end].codes;
    const std::vector<double> all = composed(q, b, end, piece, std::vector<double>(piece.codes, 0));
    early.before.push_back({b, end, Buffer<float>(others * WIDE, 0)});
    for (int64_t c = 1; c < piece.codes; ++c)
      for (int64_t j = 0; j < codes; ++j)
        early.before.back().product[(c - 1) * WIDE + j] = float(all[j * piece.codes + c] - all[j * piece.codes]);
  }
  early.bound = Sizes(q, column, stage).bound(approximate, missed, piece.codes, width);
  // |y − ŷ| is at most half a step; a little more, for s and 1 / s are rounded
  early.bound.of_error *= 0.51f * std::sqrt(float(width));
  return early;
}

inline Last last_piece(const Stages &q, int64_t quads, int64_t registers) {
  const Piece &piece = q.pieces[q.columns - 1];
  const int64_t width = piece.width, floats = padded(width, LANES), stride = registers * BYTES;
  Last last;
  last.quads.resize(quads * TILE), last.start.resize(TILE), last.scale.resize(TILE);
  last.words.resize(TILE * stride), last.word_scale.resize(TILE);
  Buffer<float> approximate(piece.codes * floats, 0), missed(piece.codes * floats, 0), fine(approximate), rest(missed);
  std::vector<int32_t> whole(width);
  std::vector<double> bias(TILE, std::numeric_limits<double>::infinity());  // no vector takes what fills the tile
  for (int64_t c = 0; c < piece.codes; ++c) {
    const float *own = piece.direction + c * (width + 1);
    // in each lane 4 · registers products, which are added as floats then
    const int64_t most = std::min<int64_t>(32767, MOST_SUM / (4 * registers));
    const float u = last.word_scale[c] = in_whole_numbers({own, own + width}, most, 2 * most * width, whole.data());
    for (int64_t d = 0; d < width; ++d) {
      fine[c * floats + d] = u * whole[d], rest[c * floats + d] = float(own[d] - double(u) * whole[d]);
      last.words[c * stride + d / 32 * 32 + d % 16 / 4 * 8 + d % 32 / 16 * 4 + d % 4] = int16_t(whole[d]);
    }
    bias[c] = -double(own[width]);
    const float t = last.scale[c] = in_whole_numbers({own, own + width}, 127, 2 * 127 * width, whole.data());
    for (int64_t d = 0; d < width; ++d) {
      approximate[c * floats + d] = t * whole[d], missed[c * floats + d] = own[d] - t * whole[d];
      last.quads[d / QUAD * TILE + c] |= int32_t(uint32_t(uint8_t(whole[d])) << 8 * (d % QUAD));
      last.start[c] -= 128 * whole[d];
    }
  }
  for (int64_t s = 0, first = 0; s + 1 < q.stages; first += q.widths[s], ++s) {
    const std::vector<double> product = composed(q, first, first + q.widths[s], piece, s == 0 ? bias : std::vector<double>(TILE, 0));
    last.product.emplace_back(product.begin(), product.end());
  }
  const Sizes sizes(q, q.columns - 1, q.stages - 1);
  last.bound = sizes.bound(approximate, missed, piece.codes, width);
  last.word_bound = sizes.bound(fine, rest, piece.codes, width);
  last.word_bound.of_error *= 0.51f * std::sqrt(float(width));
  return last;
}

// Whether stages are such that this gains: a few early ones of few codes, then one of many, whose 8-bit table is there.
inline bool suits_gram(const Stages &q) {
  const Piece &last = q.pieces[q.columns - 1];
  if (q.stages < 2 || q.stages > 1 + MOST_EARLY || q.columns > MOST_COLUMNS || q.dim > MOST_REGISTERS * BYTES) return false;
  if (q.widths[q.stages - 1] != 1 || !last.bytes || last.codes > TILE || !Sizes(q, q.columns - 1, q.stages - 1).fit()) return false;
  for (int64_t s = 0, column = 0; s + 1 < q.stages; ++s) {
    const int64_t width = q.pieces[column].width;
    int64_t codes = 1;
    for (const int64_t end = column + q.widths[s]; column < end; ++column) {
      const Piece &piece = q.pieces[column];
      codes *= piece.codes;
      if (piece.codes > WIDE || codes > MOST_COMPOSED || piece.width != width || piece.begin % 2 || width % 2) return false;
      if (!Sizes(q, column, s).fit()) return false;
    }
  }
  return true;
}

inline std::unique_ptr<Gram> gram_of(const Stages &q) {
  std::unique_ptr<Gram> gram(new Gram{q.dim, padded(q.dim, BYTES) / BYTES, padded(q.dim, QUAD) / QUAD, {}, {}});
  std::vector<int64_t> stage_of;
  for (int64_t s = 0; s < q.stages; ++s) stage_of.insert(stage_of.end(), q.widths[s], s);
  for (int64_t column = 0; column < q.columns - 1; ++column) gram->early.push_back(early_piece(q, column, stage_of[column], stage_of));
  for (int64_t first = 0, end; first < q.columns - 1; first = end) {
    const auto alike = [&](int64_t p) { return p < q.columns - 1 && stage_of[p] == stage_of[first] && q.pieces[p].codes == 2; };
    for (end = first; end < first + MANY_ALIKE && alike(end);) ++end;
    end = end == first + MANY_ALIKE ? end : first + 1;
    gram->early[first].alike = end - first;
  }
  gram->last = last_piece(q, gram->quads, gram->registers);
  return gram;
}
#else
struct Gram {};
inline bool suits_gram(const Stages &) { return false; }
inline std::unique_ptr<Gram> gram_of(const Stages &) { return nullptr; }
#endif

}  // namespace
