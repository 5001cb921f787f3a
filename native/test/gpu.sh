#!/bin/sh
# Builds the CUDA library for the device of this machine, runs all tests and benchmarks on it, and prints a table last. Needs nvcc, a C++20 compiler and
# a shell: neither CMake nor Node, GoogleTest, OpenBLAS or a network. Takes less than 8 minutes.
#   native/test/gpu.sh              everything on the device; without one it says so and ends with 2
#   native/test/gpu.sh --emulate    the same tests and benchmarks on the processor, by the emulator: a test of this script, its times mean nothing
#   native/test/gpu.sh --racecheck  the tests on the emulator with ThreadSanitizer, which finds races between barriers whatever the order of threads
# BUILD names the folder to build in (default native/build-gpu), JOBS how many compilers run at once, ARCH the compute capability to build for (90).
# Of --emulate: ORDERS of threads between barriers (forward, backward, seeds), LIBRARY an emulated library that is built already.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$here/build-gpu}
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
cxx=${CXX:-c++}
emulate=no
racecheck=no
started=$(date +%s)
case "${1:-}" in
    "") ;;
    --emulate) emulate=yes ;;
    --racecheck) emulate=yes; racecheck=yes ;;
    *) echo "usage: gpu.sh [--emulate | --racecheck]" >&2; exit 2 ;;
esac

say() { printf '── %s\n' "$*"; }
give_up() { printf 'gpu.sh: %s\n' "$*" >&2; exit 2; }

kernels=$(sed -n 's/^set(CUDA_KERNELS \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
host=$(sed -n 's/^set(CUDA_HOST \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
[ -n "$kernels" ] && [ -n "$host" ] || give_up "src/cuda/sources.cmake does not name the kernels"
# What tests and benchmarks need of the core library.
core="base/memory_posix.cpp base/special.cpp base/thread_pool.cpp cpu/scalar.cpp integer/operands.cpp integer/plan.cpp integer/scalar.cpp measure/measure.cpp
    packed/packed_weight.cpp packed/safetensors_writer.cpp rotation/rpbh.cpp stats/marginal.cpp stats/sphere.cpp tensor/dtype.cpp tensor/file_posix.cpp tensor/tensor.cpp
    transform/hadamard.cpp transform/orthogonal.cpp transform/transform.cpp
    $(cd "$here/src" && ls device/*.cpp device/self_test/*.cpp graph/*.cpp linear/*.cpp quantizer/*.cpp | grep -v '^device/gptq.cpp$')"
tests="device_test.cpp device_attention_graph_test.cpp device_attention_test.cpp device_graph_test.cpp device_linear_test.cpp device_ops_test.cpp device_rotate_test.cpp
    device_slots_test.cpp device_solver_test.cpp device_statistics_test.cpp"

mkdir -p "$build" || exit 2
plan=$build/plan
: > "$plan"
common="-std=c++20 -I$here/src -I$here/test"

if [ $emulate = no ]; then
    if ! command -v nvidia-smi > /dev/null || ! gpus=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>&1) || [ -z "$gpus" ]; then
        give_up "there is no GPU on this machine (nvidia-smi finds none). 'gpu.sh --emulate' runs the same tests on the processor."
    fi
    say "device: $gpus"
    PATH=$PATH:/usr/local/cuda/bin
    command -v nvcc > /dev/null || give_up "nvcc is not there; install the CUDA toolkit or put it on the PATH"
    arch=${ARCH:-$(printf '%s\n' "$gpus" | head -n 1 | awk -F', *' '{ gsub(/\./, "", $2); print $2 }')}
    say "nvcc $(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'), sm_$arch, $jobs jobs"
    for file in $host $kernels; do
        # Kernels that need the features of one generation alone stand behind its own target.
        echo "nvcc $common -O3 --fmad=false -lineinfo -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off -gencode arch=compute_$arch,code=[sm_$arch,compute_$arch] -c $here/src/cuda/$file -o $build/$(echo "$file" | tr / .).o" >> "$plan"
    done
    library=$build/libquantscope_cuda.so
else
    say "emulated: no device is used"
    emulation="$common -I$here/test/cuda_emulator -DQUANTSCOPE_CUDA_EMULATION -Wno-unknown-pragmas -O1 -fPIC -fvisibility=hidden -ffp-contract=off"
    # Kernels alone are watched: the emulator says itself what orders their threads.
    if [ $racecheck = yes ]; then emulation="$emulation -g1 -DQUANTSCOPE_RACECHECK"; watched=-fsanitize=thread; else watched=; fi
    library=${LIBRARY:-$build/libquantscope_cuda_emulated.so}
    [ -z "${LIBRARY:-}" ] && for file in $host $kernels; do
        echo "$cxx $emulation $watched -x c++ -c $here/src/cuda/$file -o $build/$(echo "$file" | tr / .).emulated.o" >> "$plan"
    done
    [ -z "${LIBRARY:-}" ] && for file in block fiber runtime; do
        echo "$cxx $emulation -c $here/test/cuda_emulator/$file.cpp -o $build/$file.emulated.o" >> "$plan"
    done
    QUANTSCOPE_EMULATED_MEMORY=268435456
    export QUANTSCOPE_EMULATED_MEMORY
fi
# Without a device nobody waits for the speed of what is built.
if [ $emulate = no ]; then optimize=-O2; else optimize=-O1; fi
for file in $core; do
    echo "$cxx $common -I$here/test/standalone $optimize -ffp-contract=off -c $here/src/$file -o $build/core.$(echo "$file" | tr / .).o" >> "$plan"
done
for file in $tests standalone/levels.cpp standalone/main.cpp; do
    echo "$cxx $common -I$here/test/standalone -O1 -ffp-contract=off -c $here/test/$file -o $build/test.$(echo "$file" | tr / .).o" >> "$plan"
done
echo "$cxx $common -O1 -c $here/bench/device_bench.cpp -o $build/bench.device.o" >> "$plan"

say "building"
rm -f "$build"/*.o
xargs -P "$jobs" -I '{}' sh -c '{} || { echo "failed: {}" >&2; exit 255; }' < "$plan" || give_up "the build failed"
if [ $emulate = no ]; then
    nvcc -shared -cudart static $(for file in $host $kernels; do echo "$build/$(echo "$file" | tr / .).o"; done) -o "$library" || give_up "linking the library failed"
elif [ -z "${LIBRARY:-}" ]; then
    $cxx -shared "$build"/*.emulated.o -o "$library" -lpthread || give_up "linking the library failed"  # of ThreadSanitizer the program has one
fi
$cxx "$build"/core.*.o "$build"/test.*.o ${watched:-} -o "$build/tests" -ldl -lpthread || give_up "linking the tests failed"
$cxx "$build"/core.*.o "$build"/test.standalone.levels.cpp.o "$build"/bench.*.o -o "$build/bench" -ldl -lpthread || give_up "linking the benchmark failed"
built=$(date +%s)

QUANTSCOPE_CUDA_LIBRARY=$library
export QUANTSCOPE_CUDA_LIBRARY
table=$build/table
: > "$table"
status=0
# row NAME STATUS TEXT
row() {
    printf '%-24s %-7s %s\n' "$1" "$2" "$3" >> "$table"
    [ "$2" = ok ] || [ "$2" = "-" ] || status=1
}
# limited SECONDS COMMAND…: what hangs shall not take the rest with it.
limited() {
    if command -v timeout > /dev/null; then timeout "$@"; else shift; "$@"; fi
}
last() { tail -n 1 "$1"; }

row "build" ok "$((built - started)) s"
patience=120
if [ $racecheck = yes ]; then orders=forward; patience=600; elif [ $emulate = yes ]; then orders=${ORDERS:-forward backward 7}; else orders=device; fi
for order in $orders; do
    say "tests ($order)"
    if QUANTSCOPE_EMULATED_ORDER=$order limited $patience "$build/tests" > "$build/tests.log" 2>&1; then result=ok; else result=FAILED; fi
    [ $result = ok ] || grep -v '^ok' "$build/tests.log"
    row "tests, $order" $result "$(last "$build/tests.log")"
done

if [ $emulate = no ]; then
    if sanitizer=$(command -v compute-sanitizer); then
        # initcheck is left out: padding behind the end of rows is read on purpose, and masked.
        for tool in memcheck racecheck; do
            say "$tool"
            if limited 100 "$sanitizer" --tool $tool --error-exitcode 9 "$build/tests" Device Linear > "$build/$tool.log" 2>&1; then result=ok; else result=FAILED; fi
            [ $result = ok ] || tail -n 40 "$build/$tool.log"
            row "$tool" $result "$(grep 'SUMMARY' "$build/$tool.log" | tail -n 1 | sed 's/^=* *//')"
        done
    else
        row "memcheck, racecheck" "-" "compute-sanitizer is not installed"
    fi
fi

if [ $racecheck = yes ]; then
    printf '\n'
    cat "$table"
    exit $status
fi
say "benchmarks"
if limited 120 "$build/bench" > "$build/bench.log" 2>&1; then result=ok; else result=FAILED; fi
[ $result = ok ] || cat "$build/bench.log"
row "benchmarks" $result "$(grep -c '^BENCH' "$build/bench.log") lines"
row "all" "$([ $status = 0 ] && echo ok || echo FAILED)" "$(($(date +%s) - started)) s"

printf '\n'
sed -n 's/^BENCH //p' "$build/bench.log"
printf '\n'
cat "$table"
exit $status
