// What the compiled loops share: eight or sixteen floats as one value, transposition, and threads. Nothing of PyTorch is included:
// vqkit/quantize/native.py calls what native*.cpp export through ctypes.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <vector>
#ifdef __AVX2__
#include <immintrin.h>
#endif

// Floats of the widest registers there are.
#ifdef __AVX512F__
#define WIDE 16
#else
#define WIDE 8
#endif

typedef float fw __attribute__((vector_size(4 * WIDE)));
typedef int32_t iw __attribute__((vector_size(4 * WIDE)));
typedef float f8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));

typedef int64_t lw __attribute__((vector_size(4 * WIDE)));
typedef uint64_t uw __attribute__((vector_size(4 * WIDE)));

// Numbers of a and of b (8 … 15), chosen alike in each run of eight lanes.
#if WIDE == 16
#define FROM(k, run) ((k) < 8 ? (k) + 8 * (run) : (k) + 8 + 8 * (run))
#define PLACES(c, d, e, f, g, h, i, j)                                                                                      \
  FROM(c, 0), FROM(d, 0), FROM(e, 0), FROM(f, 0), FROM(g, 0), FROM(h, 0), FROM(i, 0), FROM(j, 0), FROM(c, 1), FROM(d, 1),    \
      FROM(e, 1), FROM(f, 1), FROM(g, 1), FROM(h, 1), FROM(i, 1), FROM(j, 1)
#else
#define PLACES(...) __VA_ARGS__
#endif
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, PLACES(__VA_ARGS__))
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, iw{PLACES(__VA_ARGS__)})
#endif

namespace {

constexpr int LANES = 8;         // vectors in a register
constexpr int WIDES = 3;         // widest registers of a block
constexpr int BLOCK = WIDES * WIDE;  // vectors searched at once
// Codes whose scores are summed at once: times WIDES registers they must leave room for the vectors and a code, of 16 or 32 registers.
constexpr int CODES = WIDE == 16 ? 8 : 4;
constexpr int64_t PART = 4096;  // vectors that are worth a thread of their own

// Numbers that begin where a line of the cache does: a register that lies in two lines takes twice as long to load.
template <class T> struct Lines {
  using value_type = T;
  T *allocate(size_t n) { return static_cast<T *>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T *p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const Lines &) const { return true; }
  bool operator!=(const Lines &) const { return false; }
};
template <class T> using Buffer = std::vector<T, Lines<T>>;

inline f8 load(const float *p) { f8 v; std::memcpy(&v, p, sizeof v); return v; }
inline void store(float *p, f8 v) { std::memcpy(p, &v, sizeof v); }
inline f8 all(float a) { return f8{a, a, a, a, a, a, a, a}; }

inline fw load_wide(const float *p) { fw v; std::memcpy(&v, p, sizeof v); return v; }
inline void store_wide(float *p, fw v) { std::memcpy(p, &v, sizeof v); }
inline fw all_wide(float a) { return a - fw{}; }  // a − 0 is a, also of −0, and costs nothing; a + 0 would be computed

// One bit a lane, from lanes that are 0 or −1.
inline int64_t bits_of(iw lanes) {
#if WIDE == 16
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(lanes));
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(lanes));
#else
  int64_t bits = 0;
  for (int i = 0; i < WIDE; ++i) bits |= int64_t(lanes[i] & 1) << i;
  return bits;
#endif
}

// Rows of eight numbers → columns, in each run of eight lanes.
inline void transpose(fw r[8]) {
  fw t[8], u[8];
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = SHUFFLE(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[2 * i + 1] = SHUFFLE(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; ++i) {
    u[4 * i] = SHUFFLE(t[4 * i], t[4 * i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    u[4 * i + 1] = SHUFFLE(t[4 * i], t[4 * i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    u[4 * i + 2] = SHUFFLE(t[4 * i + 1], t[4 * i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    u[4 * i + 3] = SHUFFLE(t[4 * i + 1], t[4 * i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = SHUFFLE(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = SHUFFLE(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// Eight numbers of a row; where a register has sixteen, also those of the row eight further on.
inline fw load_rows(const float *row, [[maybe_unused]] int64_t stride) {
#if WIDE == 16
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(row)), _mm256_loadu_ps(row + 8 * stride), 1);
#else
  return load_wide(row);
#endif
}

// (ROWS, stride) → (dim, ROWS), dim padded to eight; with MEAN less that, padded alike.
template <int ROWS, bool MEAN = false>
void transposed(const float *rows, int64_t stride, int64_t dim, float *columns, const float *mean = nullptr) {
  for (int v = 0; v < ROWS; v += WIDE)
    for (int64_t d = 0; d < dim; d += LANES) {
      fw tile[8];
      for (int i = 0; i < 8; ++i) tile[i] = load_rows(rows + (v + i) * stride + d, stride);
      transpose(tile);
      for (int i = 0; i < 8; ++i) store_wide(columns + (d + i) * ROWS + v, MEAN ? tile[i] - all_wide(mean[d + i]) : tile[i]);
    }
}

constexpr int ROWS = 16;  // vectors that are turned at once where a register holds one dimension of each

// `count` ≤ N vectors → (dim, N), with MEAN as above. `tail` (N, dim padded to eight) takes those that a tile would read beyond.
template <int N, bool MEAN = false>
void turn(const float *rows, int64_t count, int64_t dim, Buffer<float> &tail, Buffer<float> &turned,
          const float *mean = nullptr) {
  int64_t stride = dim;
  if (count < N || dim % LANES) {
    stride = (dim + LANES - 1) / LANES * LANES;
    for (int64_t v = 0; v < count; ++v) std::memcpy(tail.data() + v * stride, rows + v * dim, dim * sizeof(float));
    rows = tail.data();
  }
  transposed<N, MEAN>(rows, stride, dim, turned.data(), mean);
}

// Calls work(first, number) for parts of n vectors, in threads where there are many.
template <class Work> void parts(int64_t n, int64_t threads, Work work, int64_t part = PART) {
  threads = std::max<int64_t>(1, std::min(threads, n / part));
  const int64_t each = ((n + threads - 1) / threads + BLOCK - 1) / BLOCK * BLOCK;
  std::vector<std::thread> running;
  for (int64_t first = each; first < n; first += each)
    running.emplace_back([=] { work(first, std::min(each, n - first)); });
  work(0, std::min(each, n));
  for (auto &thread : running) thread.join();
}

}  // namespace
