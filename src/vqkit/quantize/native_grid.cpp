// Codes of implicit codebooks (FSQ, LFQ) in one pass over the vectors; grid_search.py says why thresholds are all that is needed.

#include "native.h"

namespace {

constexpr int GROUP = 6;  // rounded dimensions whose products are summed at once: twelve registers

struct Grid {
  int64_t dim, inner;
  const float *weight;      // for each group of dimensions (dim, group)
  const float *bias;        // (inner)
  const float *thresholds;  // of all rounded dimensions, one after the other, each ascending
  const int64_t *counts;    // thresholds of each
  const int64_t *places;    // what a step of each adds to the code
};

// G rounded dimensions of ROWS vectors: low the first eight vectors, high the others.
template <int G> void project(const float *x, int64_t dim, const float *weight, const float *bias, f8 *low, f8 *high) {
  f8 a[G], b[G];
  for (int k = 0; k < G; ++k) a[k] = b[k] = all(bias[k]);
  for (int64_t d = 0; d < dim; ++d, x += ROWS, weight += G) {
    const f8 first = load(x), second = load(x + LANES);
#pragma GCC unroll 6
    for (int k = 0; k < G; ++k) a[k] += first * weight[k], b[k] += second * weight[k];
  }
  for (int k = 0; k < G; ++k) low[k] = a[k], high[k] = b[k];
}

void grid_rows(const Grid &q, const float *x, int64_t n, int64_t *codes) {
  static void (*const project_group[GROUP + 1])(const float *, int64_t, const float *, const float *, f8 *, f8 *) = {
      nullptr, project<1>, project<2>, project<3>, project<4>, project<5>, project<6>};
  const int64_t stride = (q.dim + LANES - 1) / LANES * LANES;
  Buffer<float> tail(ROWS * stride, 0), turned(ROWS * stride);
  for (int64_t start = 0; start < n; start += ROWS) {
    const int64_t count = std::min<int64_t>(ROWS, n - start);
    turn<ROWS>(x + start * q.dim, count, q.dim, tail, turned);
    const float *threshold = q.thresholds;
    i8 code_low = {}, code_high = {};
    for (int64_t first = 0; first < q.inner; first += GROUP) {
      const int64_t group = std::min<int64_t>(GROUP, q.inner - first);
      f8 low[GROUP], high[GROUP];
      project_group[group](turned.data(), q.dim, q.weight + first * q.dim, q.bias + first, low, high);
      for (int64_t k = 0; k < group; ++k) {
        i8 digit_low = {}, digit_high = {};
        for (int64_t i = 0; i < q.counts[first + k]; ++i, ++threshold) digit_low -= low[k] > *threshold, digit_high -= high[k] > *threshold;
        code_low += digit_low * int32_t(q.places[first + k]), code_high += digit_high * int32_t(q.places[first + k]);
      }
    }
    int32_t found[ROWS];
    std::memcpy(found, &code_low, sizeof code_low);
    std::memcpy(found + LANES, &code_high, sizeof code_high);
    for (int64_t v = 0; v < count; ++v) codes[start + v] = found[v];
  }
}

}  // namespace

extern "C" void vqkit_grid(const float *x, int64_t n, int64_t dim, int64_t inner, const float *weight, const float *bias,
                           const float *thresholds, const int64_t *counts, const int64_t *places, int64_t threads, int64_t *codes) {
  const Grid q{dim, inner, weight, bias, thresholds, counts, places};
  parts(n, threads, [&](int64_t first, int64_t count) { grid_rows(q, x + first * dim, count, codes + first); });
}
