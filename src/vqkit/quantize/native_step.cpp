// The training forward of residual stages of plain codebooks in one pass over the vectors; residual_step.py says what is computed and why.

#include "native.h"

namespace {

// One piece of one stage. Null where nobody wants it: `sums` (codes, stride) and `counts` (codes) of what the piece saw, `slopes` (codes,
// width) of what it left.
struct Column {
  int64_t width;
  const float *table;
  float *sums;
  int64_t stride;
  int64_t *counts;
  float *slopes;
};

// What one piece of one stage does with a vector, in one pass. `pull` may be null, as may be what Column has.
struct Taken {
  const float *code;
  float *sums, *slopes, *total, *left, *pull;
  float factor;

  template <class F> F at(int64_t d) const {
    F r, e, to;
    std::memcpy(&r, left + d, sizeof r);
    std::memcpy(&e, code + d, sizeof e);
    const auto add = [&](float *p, F value) {
      std::memcpy(&to, p + d, sizeof to);
      to += value;
      std::memcpy(p + d, &to, sizeof to);
    };
    if (sums) add(sums, r);
    add(total, e);
    r -= e;
    std::memcpy(left + d, &r, sizeof r);
    if (slopes) add(slopes, r);
    if (pull) add(pull, factor * r);
    return r * r;
  }
};

// total += code, left −= code, and what else is wanted; gives ‖left‖².
inline float take(const Taken &taken, int64_t width) {
  fw many{};
  f8 eight{};
  float found = 0;
  int64_t d = 0;
  for (; d + WIDE <= width; d += WIDE) many += taken.at<fw>(d);
  if (WIDE > LANES && d + LANES <= width) eight = taken.at<f8>(d), d += LANES;
  for (; d < width; ++d) found += taken.at<float>(d);
  for (int i = 0; i < WIDE; ++i) found += many[i];
  for (int i = 0; i < LANES; ++i) found += eight[i];
  return found;
}

}  // namespace

// layout: of every piece what Column has; then the pieces of each stage; then for each stage where to keep what it sees (n, dim), or 0.
// codes: (n, columns). pulls: factor of what each stage leaves in `pull`, which may be null. squares: (stages), Σ ‖what is left‖².
extern "C" void vqkit_step(const float *x, int64_t n, int64_t dim, const int64_t *layout, int64_t columns, int64_t stages,
                           const int64_t *codes, const float *pulls, float *total, float *pull, double *squares) {
  std::vector<Column> pieces;
  for (int64_t i = 0; i < columns; ++i, layout += 6)
    pieces.push_back({layout[0], reinterpret_cast<const float *>(layout[1]), reinterpret_cast<float *>(layout[2]), layout[3],
                      reinterpret_cast<int64_t *>(layout[4]), reinterpret_cast<float *>(layout[5])});
  const int64_t *widths = layout, *kept = layout + stages;
  std::vector<float> left(dim);
  for (int64_t v = 0; v < n; ++v, x += dim, total += dim, codes += columns) {
    std::memcpy(left.data(), x, dim * sizeof(float));
    std::memset(total, 0, dim * sizeof(float));
    if (pull) std::memset(pull, 0, dim * sizeof(float));
    int64_t column = 0;
    for (int64_t s = 0; s < stages; ++s) {
      if (kept[s]) std::memcpy(reinterpret_cast<float *>(kept[s]) + v * dim, left.data(), dim * sizeof(float));
      int64_t begin = 0;
      for (int64_t p = 0; p < widths[s]; ++p, ++column) {
        const Column &piece = pieces[column];
        const int64_t code = codes[column], width = piece.width;
        if (piece.sums) ++piece.counts[code];
        squares[s] += take({piece.table + code * width, piece.sums ? piece.sums + code * piece.stride : nullptr,
                            piece.slopes ? piece.slopes + code * width : nullptr, total + begin, left.data() + begin,
                            pull && pulls[s] != 0 ? pull + begin : nullptr, pulls[s]}, width);
        begin += width;
      }
    }
    if (pull) pull += dim;
  }
}
