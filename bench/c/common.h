/* What load and writeloop share. */
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint32_t chance(uint32_t below) { /* xorshift64*, then Lemire's reduction */
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (uint64_t)(uint32_t)((state * 0x2545F4914F6CDD1Du) >> 32) * below >> 32;
}

static uint32_t raise_files_limit(void) { /* how many may be open now, at most 2^20 */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_max < 1u << 20 ? files.rlim_max : 1u << 20;
}
