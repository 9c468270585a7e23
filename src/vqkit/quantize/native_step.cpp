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

inline void add(const float *from, int64_t count, float *to) {
  for (int64_t d = 0; d < count; ++d) to[d] += from[d];
}

// total += code, left −= code; gives ‖left‖².
inline float take(const float *code, int64_t width, float *total, float *left) {
  f8 squares{};
  int64_t d = 0;
  for (; d + LANES <= width; d += LANES) {
    const f8 e = load(code + d), r = load(left + d) - e;
    store(total + d, load(total + d) + e);
    store(left + d, r);
    squares += r * r;
  }
  float found = 0;
  for (int i = 0; i < LANES; ++i) found += squares[i];
  for (; d < width; ++d) total[d] += code[d], left[d] -= code[d], found += left[d] * left[d];
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
        float *own = left.data() + begin;
        if (piece.sums) add(own, width, piece.sums + code * piece.stride), ++piece.counts[code];
        squares[s] += take(piece.table + code * width, width, total + begin, own);
        if (piece.slopes) add(own, width, piece.slopes + code * width);
        begin += width;
      }
      if (pull && pulls[s] != 0)
        for (int64_t d = 0; d < dim; ++d) pull[d] += pulls[s] * left[d];
    }
    if (pull) pull += dim;
  }
}
