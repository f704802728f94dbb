/*
 * test_choice.c: the encoder that chooses symbols, for builds with -fsanitize=address,undefined: volumes of many models
 * with every kernel of this machine, every smaller room. Every buffer is an allocation of exactly its stated size.
 * tests/test_native.py builds and runs this; it prints one line and returns 0 when all is well.
 */
#include "check.h"
#include "context_choice.h"
#include "context_parameters.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

/* A volume of mostly small values, perhaps with an importance map, and what coding it needs. */
struct volume {
    struct prepared model;
    struct sizes sizes;
    size_t h, w, n, scratch, cap;
    uint8_t *symbols, *counts, *workspace, *chosen, *decoded, *out;
    int8_t *fractions;
};

static struct volume volume_for(struct sizes s, uint64_t seed, size_t h, size_t w, int with_counts)
{
    uint8_t *parameters = make_parameters(s, seed);
    struct volume v;
    size_t i;

    CHECK(prepare(parameters, file_of(s).at[TABLES], &v.model) == EDGECOMP_OK);
    CHECK(edgecomp_context_workspace(v.model.data, v.model.size, w, &v.scratch) == EDGECOMP_OK);
    free(parameters);
    v.sizes = s;
    v.h = h;
    v.w = w;
    v.n = s.channels * h * w;
    v.cap = 3 * v.n + 8;
    v.symbols = exactly(v.n);
    v.fractions = exactly(v.n);
    v.chosen = exactly(v.n);
    v.decoded = exactly(v.n);
    v.out = exactly(v.cap);
    v.workspace = exactly(v.scratch);
    v.counts = with_counts ? exactly(h * w) : NULL;
    for (i = 0; with_counts && i < h * w; i++) {
        v.counts[i] = (uint8_t)random_from(&state, s.channels + 1);
    }
    for (i = 0; i < v.n; i++) {
        const int value = (int)s.zero + (int)random_from(&state, 5) - 2;
        const int coded = !with_counts || i / (h * w) < v.counts[i % (h * w)];

        v.symbols[i] = (uint8_t)(!coded || value < 0 || value >= (int)s.levels ? s.zero : (unsigned)value);
        v.fractions[i] = (int8_t)((int)random_from(&state, 256) - 128);
    }
    return v;
}

static void free_volume(struct volume *v)
{
    free_prepared(&v->model);
    free(v->symbols);
    free(v->fractions);
    free(v->chosen);
    free(v->decoded);
    free(v->out);
    free(v->workspace);
    free(v->counts);
}

static int encode(const struct volume *v, const int8_t *fractions, uint32_t threshold, int kernels, size_t chosen_cap,
                  uint8_t *out, size_t cap, size_t *length)
{
    return edgecomp_context_encode_chosen(v->model.data, v->model.size, v->symbols, fractions, v->h, v->w, v->counts,
                                          threshold, kernels, v->workspace, v->scratch, v->chosen, chosen_cap, out, cap,
                                          length);
}

/* Chooses with every kernel, which must agree; returns how many symbols became others. */
static size_t expect_chosen(struct volume *v, const int8_t *fractions, uint32_t threshold)
{
    uint8_t *first = exactly(v->cap);
    size_t first_length = 0, length, changed = 0, i, k;

    for (k = 0; k < sizeof all_kernels / sizeof *all_kernels; k++) {
        if (!have_kernels(&v->model, all_kernels[k])) {
            continue;
        }
        CHECK(encode(v, fractions, threshold, all_kernels[k], v->n, v->out, v->cap, &length) == EDGECOMP_OK);
        CHECK(edgecomp_context_decode(v->model.data, v->model.size, v->out, length, v->h, v->w, v->counts,
                                      all_kernels[k], v->workspace, v->scratch, v->decoded, v->n) == EDGECOMP_OK);
        CHECK(memcmp(v->chosen, v->decoded, v->n) == 0);
        if (k == 0) {
            memcpy(first, v->out, length);
            first_length = length;
        }
        CHECK(length == first_length && memcmp(first, v->out, length) == 0);
    }
    for (i = 0; i < v->n; i++) {
        if (v->chosen[i] != v->symbols[i]) {
            CHECK(v->chosen[i] == v->sizes.zero);
            CHECK(abs((int)v->symbols[i] - (int)v->sizes.zero) == 1);
            changed++;
        }
    }
    free(first);
    return changed;
}

static void test_volumes(void)
{
    static const struct sizes all[] = {
        {1, 2, 0, 1, 32, 32},   {1, 2, 1, 1, 32, 32},   {1, 256, 128, 3, 64, 32},  {2, 6, 2, 2, 96, 64},
        {7, 6, 5, 1, 32, 128},  {8, 17, 0, 1, 128, 32}, {9, 256, 255, 2, 32, 32},  {24, 256, 128, 1, 96, 96},
        {24, 256, 0, 1, 32, 64},
    };
    size_t i, most = 0;
    unsigned seed;

    for (i = 0; i < sizeof all / sizeof *all; i++) {
        for (seed = 1; seed <= 6; seed++) {
            const size_t h = 1 + random_from(&state, 8), w = 1 + random_from(&state, 8);
            struct volume v = volume_for(all[i], seed, h, w, seed % 2 == 0);
            const size_t all_that_save = expect_chosen(&v, NULL, 0);

            most += all_that_save;
            expect_chosen(&v, v.fractions, 0);
            expect_chosen(&v, v.fractions, 1 + random_from(&state, 4096));
            expect_chosen(&v, v.fractions, UINT32_MAX);
            CHECK(expect_chosen(&v, NULL, 24 * 256) == 0); /* no symbol costs more bits */
            CHECK(expect_chosen(&v, NULL, UINT32_MAX) == 0);
            CHECK(all_that_save >= expect_chosen(&v, NULL, 24 * 256));
            free_volume(&v);
        }
    }
    CHECK(most > 100);
}

/* Whatever the room, all of the code or a word of refusal, and never a byte beyond. */
static void test_room(void)
{
    static const struct sizes s = {9, 256, 128, 1, 32, 32};
    struct volume v = volume_for(s, 3, 3, 4, 1);
    size_t size, length, i;

    CHECK(encode(&v, v.fractions, 64, EDGECOMP_KERNELS_AUTO, v.n, v.out, v.cap, &size) == EDGECOMP_OK);
    for (i = 0; i <= size; i++) {
        uint8_t *out = exactly(i);

        CHECK(encode(&v, v.fractions, 64, EDGECOMP_KERNELS_AUTO, v.n, out, i, &length) ==
              (i < size ? EDGECOMP_OUTPUT_TOO_SMALL : EDGECOMP_OK));
        CHECK(length == (i < size ? 0 : size));
        free(out);
    }
    free(v.chosen);
    v.chosen = exactly(v.n - 1);
    CHECK(encode(&v, v.fractions, 64, EDGECOMP_KERNELS_AUTO, v.n - 1, v.out, v.cap, &length) ==
          EDGECOMP_OUTPUT_TOO_SMALL);
    CHECK(length == 0);
    free_volume(&v);
}

/* The straight lines are no further from the logarithm than the choice believes, and the logarithm is one. */
static void expect_logarithm(uint32_t frequency)
{
    const int32_t log = log2_256(frequency), least = log2_256_least(frequency);

    CHECK(least <= log && log <= least + CHOICE_SLACK);
    CHECK(frequency == 1 || log2_256(frequency - 1) <= log);
    CHECK(frequency > 1u << 23 || log2_256(2 * frequency) == log + 256);
}

static void test_logarithms(void)
{
    uint32_t frequency;

    CHECK(log2_256(1) == 0 && log2_256(3) == 405 && log2_256(181) == 1919 && log2_256(1u << 24) == 256 * 24);
    for (frequency = 1; frequency < 1u << 16; frequency++) {
        expect_logarithm(frequency);
    }
    for (; frequency <= 1u << 24; frequency += 127) {
        expect_logarithm(frequency);
    }
}

/* The bounds of logarithms never decide otherwise than the logarithms. */
static void test_savings(void)
{
    int round, near;

    for (round = 0; round < 20000; round++) {
        const uint32_t zero = 1 + random_from(&state, 1u << (1 + random_from(&state, 24)));
        const uint32_t symbol = 1 + random_from(&state, 1u << (1 + random_from(&state, 24)));
        const int64_t saved = 128 * (int64_t)(log2_256(zero) - log2_256(symbol));
        const int32_t loss = (int32_t)random_from(&state, 257);

        CHECK(choice_saves(zero, symbol, 0, loss) == (saved > 0));
        for (near = -1; near <= 1 && loss > 0; near++) { /* thresholds about where it changes */
            const int64_t threshold = saved / loss + near;

            if (threshold >= 0 && threshold <= UINT32_MAX) {
                CHECK(choice_saves(zero, symbol, (uint32_t)threshold, loss) == (saved > threshold * loss));
            }
        }
    }
    CHECK(!choice_saves(1u << 24, 1, UINT32_MAX, 256));
}

static void test_misuse(void)
{
    static const struct sizes s = {3, 6, 2, 1, 32, 32};
    struct volume v = volume_for(s, 3, 3, 4, 0);
    uint8_t *kept = v.chosen;
    size_t length = 7;

    CHECK(encode(&v, NULL, 64, EDGECOMP_KERNELS_AUTO, v.n, v.out, v.cap, NULL) == EDGECOMP_BAD_ARGUMENT);
    CHECK(encode(&v, NULL, 64, 99, v.n, v.out, v.cap, &length) == EDGECOMP_BAD_ARGUMENT);
    v.chosen = NULL;
    CHECK(encode(&v, NULL, 64, EDGECOMP_KERNELS_AUTO, v.n, v.out, v.cap, &length) == EDGECOMP_BAD_ARGUMENT);
    CHECK(length == 0);
    v.chosen = kept;
    v.symbols[v.n - 1] = 6;
    CHECK(encode(&v, NULL, 64, EDGECOMP_KERNELS_AUTO, v.n, v.out, v.cap, &length) == EDGECOMP_BAD_ARGUMENT);
    v.h = 0; /* an empty volume has no code and needs no room */
    v.chosen = NULL;
    CHECK(encode(&v, NULL, 64, EDGECOMP_KERNELS_AUTO, 0, NULL, 0, &length) == EDGECOMP_OK);
    CHECK(length == 0);
    v.chosen = kept;
    free_volume(&v);
}

int main(void)
{
    test_volumes();
    test_room();
    test_logarithms();
    test_savings();
    test_misuse();
    puts("test_choice: all tests passed");
    return 0;
}
