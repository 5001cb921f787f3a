// Kernels and limits measured against each other on a machine that others use too: they take turns, time is what the processor spent on us, and the
// fastest turn of each counts.
#pragma once

#include <ctime>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"

namespace quantscope {

struct Subject {
    std::string name;
    std::function<double()> run;           ///< returns operations, or bytes
    std::function<void()> prepare = [] {};  ///< before every run, not measured
    double best = INFINITY;                ///< seconds for one operation
    double rate() const { return 1 / best; }
};

/// Seconds of processor time of all threads of this process.
inline double processorTime() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline void takeTurns(std::vector<Subject>& subjects, int turns) {
    for (int turn = 0; turn < turns; ++turn) {
        for (Subject& subject : subjects) {
            subject.prepare();
            const double start = processorTime();
            const double done = subject.run();
            subject.best = std::min(subject.best, (processorTime() - start) / done);
        }
    }
}

/// Bell-shaped numbers: sums of twelve uniform ones.
inline std::vector<float> bell(size_t n, uint64_t seed) {
    SplitMix64 random(seed);
    std::vector<float> values(n);
    for (auto& value : values) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) {
            sum += random.uniform();
        }
        value = static_cast<float>(sum);
    }
    return values;
}

}  // namespace quantscope
