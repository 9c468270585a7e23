// Beam search through stages of codebooks. The plain twin is in beam.py, which says what is computed and why; here is only how.
//
// Every set of codes that is kept for a vector is a row: the residual that it leaves, less the next stage's mean code. With r such a row,
//
//   ‖r − e_c‖² = −2 (r·e_c − ½‖e_c‖² − ½‖r‖²),
//
// so that of all rows of a vector and all codes those are kept whose score, as native.cpp computes it, plus the row's −½‖r‖² is largest.
// The rows of some vectors are the lanes of a block. Its scores are computed once, with the largest of each of some classes of codes: a
// value that enough candidates reach is known from these few. A second pass finds those not below it, and only they are put in order.
// Where scores are approximations from 8-bit tables (native_preselect.h), their bound is left as a margin, and those left are scored anew.

#include "native.h"
#include "native_preselect.h"

namespace {

constexpr int64_t CLASSES = 8;         // of codes, at least
constexpr int64_t LEAST_CODES = 128;   // from which approximations gain: those left are scored one by one
constexpr float NONE = -std::numeric_limits<float>::infinity();

struct Level {
  int64_t codes;
  const float *direction, *step;  // (codes, dim + 1) and (codes, dim); no step in the last stage
  int32_t *bytes;                 // the 8-bit table, or null
};

// A row of a vector extended by a code.
struct Candidate {
  float value;  // score and −½‖r‖²; at first of an approximation
  int32_t row, code;
};

// NaN is the least of all values: nothing but numbers in an order may be sorted.
inline float ordered(float value) { return value == value ? value : NONE; }

struct Better {
  bool operator()(const Candidate &a, const Candidate &b) const {
    if (a.value != b.value) return a.value > b.value;
    return a.row != b.row ? a.row < b.row : a.code < b.code;
  }
};

// One bit a lane that is not below its limit; what is NaN never is.
inline uint64_t not_below(const float *scores, const float *limit) {
#if WIDE == 16
  return _mm512_cmp_ps_mask(_mm512_load_ps(scores), _mm512_load_ps(limit), _CMP_NLT_UQ);
#else
  return uint64_t(bits_of(~(load_wide(scores) < load_wide(limit))));
#endif
}

// Σ a·b.
inline float product(const float *a, const float *b, int64_t width) {
  fw sums[2] = {};
  int64_t d = 0;
  for (; d + 2 * WIDE <= width; d += 2 * WIDE)
    for (int i = 0; i < 2; ++i) sums[i] += load_wide(a + d + i * WIDE) * load_wide(b + d + i * WIDE);
  for (; d + WIDE <= width; d += WIDE) sums[0] += load_wide(a + d) * load_wide(b + d);
  sums[0] += sums[1];
  float lanes[WIDE];
  store_wide(lanes, sums[0]);
  for (int half = WIDE / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  for (; d < width; ++d) lanes[0] += a[d] * b[d];
  return lanes[0];
}

// What is kept of some vectors after a stage: `kept` rows of each, the best first.
struct Rows {
  Buffer<float> residual, offset;  // (rows, stride), −½‖residual‖²
  std::vector<int32_t> codes;  // (rows, stages)

  Rows(int64_t rows, int64_t stride, int64_t stages)
      : residual((rows + BLOCK) * stride, 0), offset(rows + BLOCK, 0), codes(rows * stages) {}
};

// Searches one thread's vectors.
class BeamSearch {
 public:
  BeamSearch(const std::vector<Level> &levels, int64_t dim, int64_t beam, const float *mean, int64_t vectors)
      : levels_(levels), stages_(levels.size()), dim_(dim), stride_((dim + LANES - 1) / LANES * LANES), beam_(beam), mean_(mean),
        now_(std::min<int64_t>(vectors, BLOCK) * beam, stride_, stages_), next_(now_), columns_(BLOCK * stride_), error_(BLOCK),
        candidates_(BLOCK), resting_(stages_) {
    int64_t most = 0;
    for (const Level &level : levels_) most = std::max(most, (level.codes + CLASSES - 1) / CLASSES * CLASSES);
    const int64_t blocks = (beam + BLOCK - 1) / BLOCK;
    block_ = most * BLOCK, scores_.resize(blocks * block_);
    largest_block_ = std::min(most, 2 * beam + CLASSES) * BLOCK, largest_.resize(blocks * largest_block_);
    margin_.resize(blocks * BLOCK), limit_.resize(blocks * BLOCK);
#ifdef PRESELECTS
    bytes_.quads.resize(padded(dim, QUAD) / QUAD * BLOCK);
#endif
  }

  // codes: (n, stages). every: (n, 1 + 2 + … + stages), the best codes of the first stage, of the first two, …; may be null, as may
  // errors: (n, stages), ‖x − Σ‖² of these.
  void search(const float *x, int64_t n, int64_t *codes, int64_t *every, float *errors) {
    for (int64_t start = 0; start < n; start += BLOCK) {
      const int64_t count = std::min<int64_t>(BLOCK, n - start);
      for (int64_t v = 0; v < count; ++v) {
        float *row = &now_.residual[v * stride_];
        for (int64_t d = 0; d < dim_; ++d) row[d] = x[(start + v) * dim_ + d] - mean_[d];
        now_.offset[v] = -0.5f * product(row, row, dim_);
      }
      for (int64_t s = 0, kept = 1; s < stages_; ++s) {
        const int64_t wanted = std::min(beam_, kept * levels_[s].codes);
        const int64_t together = std::max<int64_t>(1, BLOCK / kept);
        for (int64_t v = 0; v < count; v += together) extend(s, v, std::min(together, count - v), kept, wanted);
        std::swap(now_, next_);
        kept = wanted;
        for (int64_t v = 0; v < count; ++v) {
          const int32_t *best = &now_.codes[v * kept * stages_];
          if (every) std::copy_n(best, s + 1, every + (start + v) * stages_ * (stages_ + 1) / 2 + s * (s + 1) / 2);
          if (errors) errors[(start + v) * stages_ + s] = error_[v];
          if (s + 1 == stages_) std::copy_n(best, stages_, codes + (start + v) * stages_);
        }
      }
    }
  }

 private:
  // The best of all rows of `count` vectors from `first` on, extended by a code of stage s.
  void extend(int64_t s, int64_t first, int64_t count, int64_t kept, int64_t wanted) {
    const Level &level = levels_[s];
    classes_ = (2 * wanted + kept - 1) / kept;  // twice as many as are needed, since good ones share a class
    classes_ = std::min((classes_ + CLASSES - 1) / CLASSES, (level.codes + CLASSES - 1) / CLASSES) * CLASSES;
    // what is left of approximations is scored again, one by one, which has to be much less than all of them
    bool exact = !level.bytes || level.codes < LEAST_CODES || count * kept <= WIDE || kept * level.codes < 12 * wanted;
    if (!exact && resting_[s] > 0) --resting_[s], exact = true;
    if (!exact && !found(level, first, count, kept, wanted, false)) resting_[s] = 15, exact = true;
    if (exact) found(level, first, count, kept, wanted, true);
    for (int64_t v = 0; v < count; ++v) {
      std::vector<Candidate> &of_vector = candidates_[v];
      if (!exact)
        for (Candidate &c : of_vector) {
          const int64_t row = (first + v) * kept + c.row;
          const float *direction = level.direction + c.code * (dim_ + 1);
          c.value = ordered(direction[dim_] + product(direction, &now_.residual[row * stride_], dim_) + now_.offset[row]);
        }
      std::partial_sort(of_vector.begin(), of_vector.begin() + wanted, of_vector.end(), Better());
      error_[first + v] = error(level, (first + v) * kept + of_vector[0].row, of_vector[0].code);
      for (int64_t i = 0; i < wanted; ++i) take(level, s, (first + v) * kept + of_vector[i].row, of_vector[i], (first + v) * wanted + i);
    }
  }

  // Every candidate that may be one of the best `wanted`. False where so many are left that the approximations were in vain.
  bool found(const Level &level, int64_t first, int64_t count, int64_t kept, int64_t wanted, bool exact) {
    const int64_t lanes = count * kept, blocks = (lanes + BLOCK - 1) / BLOCK;
    for (int64_t b = 0; b < blocks; ++b) std::fill_n(&largest_[b * largest_block_], classes_ * BLOCK, NONE);
    for (int64_t b = 0; b < blocks; ++b) score(level, first * kept + b * BLOCK, std::min<int64_t>(BLOCK, lanes - b * BLOCK), b, exact);
    for (int64_t v = 0; v < count; ++v) set_limits(first, v, kept, wanted);
    const int64_t all = lanes * level.codes;
    if (!collect(level, first, count, kept, exact ? all : all / 8)) return false;
    const bool enough = std::all_of(candidates_.begin(), candidates_.begin() + count,
                                    [&](const std::vector<Candidate> &of_vector) { return int64_t(of_vector.size()) >= wanted; });
    if (enough) return true;
    std::fill_n(limit_.begin(), lanes, NONE);  // of numbers that are flushed to zero a limit may rule out too many
    return collect(level, first, count, kept, all);
  }

  // The candidates of each vector that are not below its limits; false where they are more than `most` of all.
  bool collect(const Level &level, int64_t first, int64_t count, int64_t kept, int64_t most) {
    const int64_t lanes = count * kept;
    for (int64_t v = 0; v < count; ++v) candidates_[v].clear();
    for (int64_t start = 0, left = 0; start < lanes; start += BLOCK) {
      const int64_t here = std::min<int64_t>(BLOCK, lanes - start);
      const float *offset = &now_.offset[first * kept + start];
      for (int64_t c = 0; c < level.codes; ++c)
        for (int64_t k = 0; k < here; k += WIDE) {
          const float *scores = &scores_[start / BLOCK * block_ + c * BLOCK + k];
          uint64_t bits = not_below(scores, &limit_[start + k]);
          if (here - k < WIDE) bits &= (uint64_t(1) << (here - k)) - 1;
          for (; bits; bits &= bits - 1, ++left) {
            const int64_t i = __builtin_ctzll(bits), lane = start + k + i, v = lane / kept;
            candidates_[v].push_back({ordered(scores[i] + offset[k + i]), int32_t(lane - v * kept), int32_t(c)});
          }
          if (left > most) return false;
        }
    }
    return true;
  }

  // The scores of all codes for a block of `lanes` rows, the largest of each class, and what they may be off by.
  void score(const Level &level, int64_t row, int64_t lanes, int64_t block, [[maybe_unused]] bool exact) {
    transposed<BLOCK>(&now_.residual[row * stride_], stride_, dim_, columns_.data());
    float *scores = &scores_[block * block_], *largest = &largest_[block * largest_block_], *margin = &margin_[block * BLOCK];
    std::fill_n(margin, BLOCK, 0.0f);
#ifdef PRESELECTS
    if (!exact) {
      const Table table(level.bytes, level.codes, dim_);
      quantize(columns_.data(), dim_, bytes_);
      for (int k = 0; k < WIDES; ++k)
        _mm512_store_ps(margin + k * WIDE, margin_of(bytes_, k, table.head->longest, table.head->lost, table.head->constant));
      __m512 best[WIDES] = {};
      for (int64_t first = 0; first < level.codes; first += GROUP) {
        approximate(table, bytes_, first, scores + first * BLOCK, best);
        enlarge<WIDES>(scores + first * BLOCK, GROUP, largest + first % classes_ * BLOCK);
      }
      return;
    }
#endif
    switch ((lanes + WIDE - 1) / WIDE) {
      case 1: score_all<1>(level, scores, largest); break;
      case 2: score_all<2>(level, scores, largest); break;
      default: score_all<WIDES>(level, scores, largest);
    }
  }

  // In R registers of a block.
  template <int R> void score_all(const Level &level, float *scores, float *largest) const {
    for (int64_t first = 0; first < level.codes; first += CODES) {
      const float *row[CODES];
      fw s[CODES][R];
#pragma GCC unroll 8
      for (int c = 0; c < CODES; ++c) {
        row[c] = level.direction + std::min(first + c, level.codes - 1) * (dim_ + 1);
#pragma GCC unroll 3
        for (int k = 0; k < R; ++k) s[c][k] = all_wide(row[c][dim_]);
      }
      const float *x = columns_.data();
      for (int64_t d = 0; d < dim_; ++d, x += BLOCK) {
        fw a[R];
#pragma GCC unroll 3
        for (int k = 0; k < R; ++k) a[k] = load_wide(x + k * WIDE);
#pragma GCC unroll 8
        for (int c = 0; c < CODES; ++c) {
          const fw e = all_wide(row[c][d]);
#pragma GCC unroll 3
          for (int k = 0; k < R; ++k) s[c][k] += e * a[k];
        }
      }
#pragma GCC unroll 8
      for (int c = 0; c < CODES; ++c)
#pragma GCC unroll 3
        for (int k = 0; k < R; ++k) store_wide(scores + (first + c) * BLOCK + k * WIDE, s[c][k]);
      enlarge<R>(scores + first * BLOCK, std::min<int64_t>(CODES, level.codes - first), largest + first % classes_ * BLOCK);
    }
  }

  // Of some codes the scores that are larger than the largest of their classes so far; NaN is not.
  template <int R> static void enlarge(const float *scores, int64_t codes, float *largest) {
    for (int64_t i = 0; i < codes; ++i, scores += BLOCK, largest += BLOCK)
      for (int k = 0; k < R; ++k) {
        const fw score = load_wide(scores + k * WIDE), old = load_wide(largest + k * WIDE);
        store_wide(largest + k * WIDE, score > old ? score : old);
      }
  }

  // The limits of the scores of a vector's lanes: in so many classes as are wanted a candidate is certainly not below.
  void set_limits(int64_t first, int64_t v, int64_t kept, int64_t wanted) {
    values_.clear();
    for (int64_t lane = v * kept; lane < (v + 1) * kept; ++lane) {
      const float *largest = &largest_[lane / BLOCK * largest_block_ + lane % BLOCK], less = now_.offset[first * kept + lane] - margin_[lane];
      for (int64_t c = 0; c < classes_; ++c) values_.push_back(ordered(largest[c * BLOCK] + less));
    }
    const float least = reached(wanted);
    for (int64_t lane = v * kept; lane < (v + 1) * kept; ++lane) {
      const float offset = now_.offset[first * kept + lane], margin = margin_[lane];
      const float rounding = std::ldexp(1.0f, -21) * (std::abs(least) + std::abs(offset) + margin);
      limit_[lane] = least - offset - margin - rounding;
    }
  }

  // A value that at least `wanted` of `values_` reach, close to the largest such one: by halving, which takes less than to select.
  float reached(int64_t wanted) {
    float low = -NONE, high = NONE;
    for (float value : values_) low = std::min(low, value == NONE ? low : value), high = std::max(high, value);
    values_.resize((values_.size() + WIDE - 1) / WIDE * WIDE, NONE);
    const auto reaches = [&](float value) {
      int64_t count = 0;
      for (size_t i = 0; i < values_.size(); i += WIDE) count += __builtin_popcountll(bits_of(load_wide(&values_[i]) >= all_wide(value)));
      return count >= wanted;
    };
    if (!reaches(low)) return NONE;
    for (int halvings = 0; halvings < 10; ++halvings) {
      const float middle = 0.5f * low + 0.5f * high;
      (reaches(middle) ? low : high) = middle;
    }
    return low;
  }

  // ‖r − e_c‖², every difference formed: of the value, which ranks, a sum of larger numbers, little may be left.
  float error(const Level &level, int64_t row, int64_t code) const {
    const float *r = &now_.residual[row * stride_], *direction = level.direction + code * (dim_ + 1);
    fw sums{};
    int64_t d = 0;
    for (; d + WIDE <= dim_; d += WIDE) {
      const fw gap = load_wide(r + d) - load_wide(direction + d);
      sums += gap * gap;
    }
    float total = 0;
    for (int i = 0; i < WIDE; ++i) total += sums[i];
    for (; d < dim_; ++d) total += (r[d] - direction[d]) * (r[d] - direction[d]);
    return total;
  }

  // Keeps what a candidate makes of its row.
  void take(const Level &level, int64_t s, int64_t from, const Candidate &chosen, int64_t to) {
    std::copy_n(&now_.codes[from * stages_], s, &next_.codes[to * stages_]);
    next_.codes[to * stages_ + s] = chosen.code;
    if (!level.step) return;
    const float *old = &now_.residual[from * stride_], *step = level.step + chosen.code * dim_;
    float *row = &next_.residual[to * stride_];
    for (int64_t d = 0; d < dim_; ++d) row[d] = old[d] - step[d];
    next_.offset[to] = -0.5f * product(row, row, dim_);
  }

  const std::vector<Level> &levels_;
  int64_t stages_, dim_, stride_, beam_;
  int64_t block_, largest_block_;  // floats of scores_ and largest_ for a block
  int64_t classes_ = CLASSES;      // of the codes of the present stage
  const float *mean_;
  Rows now_, next_;
  Buffer<float> columns_, error_;             // (dim, BLOCK); of the best row of each vector
  Buffer<float> scores_, largest_;            // of each block of a group (codes, BLOCK) and (classes, BLOCK)
  Buffer<float> margin_, limit_;              // of each lane of a group
  Buffer<float> values_;                      // the largest of each class and lane of a vector
  std::vector<std::vector<Candidate>> candidates_;  // of each vector of a group
  std::vector<int> resting_;                        // for how many groups a stage's approximations are not tried again
#ifdef PRESELECTS
  Bytes bytes_;
#endif
};

}  // namespace

extern "C" {

// layout: as for `vqkit_search`, every stage one piece. codes, every and errors: see `BeamSearch::search`.
void vqkit_beam(const float *x, int64_t n, int64_t dim, const int64_t *layout, int64_t stages, const float *mean, int64_t beam,
                int64_t threads, int64_t *codes, int64_t *every, float *errors) {
  std::vector<Level> levels;
  for (int64_t s = 0; s < stages; ++s, layout += 6)
    levels.push_back({layout[2], reinterpret_cast<const float *>(layout[3]), reinterpret_cast<const float *>(layout[4]),
                      reinterpret_cast<int32_t *>(layout[5])});
  parts(n, threads, [&](int64_t first, int64_t count) {
    BeamSearch search(levels, dim, beam, mean, count);
    search.search(x + first * dim, count, codes + first * stages, every ? every + first * stages * (stages + 1) / 2 : nullptr,
                  errors ? errors + first * stages : nullptr);
  }, std::max<int64_t>(1, PART / beam));
}
}
