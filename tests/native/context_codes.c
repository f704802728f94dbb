/*
 * context_codes.c: prints the kernels that this processor has, and for volumes of many models a hash of the code that
 * each of them makes: the same lines on every processor. tests/test_context_processors.py compares them.
 */
#include "check.h"
#include "context_parameters.h"

static void print_kernels(void)
{
    static const char *const names[] = {"auto", "portable", "avx2", "neon", "avx512"};
    const struct sizes s = {1, 2, 0, 1, 32, 32};
    uint8_t *parameters = make_parameters(s, 1);
    struct prepared p;
    size_t k;

    CHECK(prepare(parameters, file_of(s).at[TABLES], &p) == EDGECOMP_OK);
    for (k = 0; k < sizeof all_kernels / sizeof *all_kernels; k++) {
        if (have_kernels(&p, all_kernels[k])) {
            printf("%s%s", k == 0 ? "" : " ", names[k]);
        }
    }
    puts("");
    free_prepared(&p);
    free(parameters);
}

/* Mostly small values; each kernel codes the volume, and decodes what the one before it made. */
static uint64_t code(struct sizes s, uint64_t seed, size_t height, size_t width)
{
    const size_t total = s.channels * height * width, cap = 3 * total + 8;
    uint8_t *parameters = make_parameters(s, seed), *symbols = exactly(total), *decoded = exactly(total);
    uint8_t *out = exactly(cap), *workspace;
    uint64_t state = seed + 1, h = 0;
    size_t scratch, length, i, k;
    struct prepared p;

    for (i = 0; i < total; i++) {
        const int value = (int)s.zero + (int)random_from(&state, 7) - 3;

        symbols[i] = (uint8_t)(random_from(&state, 9) == 0       ? random_from(&state, s.levels)
                               : value < 0 || value >= (int)s.levels ? s.zero
                                                                     : (unsigned)value);
    }
    CHECK(prepare(parameters, file_of(s).at[TABLES], &p) == EDGECOMP_OK);
    CHECK(edgecomp_context_workspace(p.data, p.size, width, &scratch) == EDGECOMP_OK);
    workspace = exactly(scratch);
    for (k = 0; k < sizeof all_kernels / sizeof *all_kernels; k++) {
        if (!have_kernels(&p, all_kernels[k])) {
            continue;
        }
        if (h != 0) {
            CHECK(edgecomp_context_decode(p.data, p.size, out, length, height, width, NULL, all_kernels[k], workspace,
                                          scratch, decoded, total) == EDGECOMP_OK);
            CHECK(memcmp(symbols, decoded, total) == 0);
        }
        CHECK(edgecomp_context_encode(p.data, p.size, symbols, height, width, NULL, all_kernels[k], workspace, scratch,
                                      out, cap, &length) == EDGECOMP_OK);
        CHECK(h == 0 || h == hash(out, length));
        h = hash(out, length);
    }
    free(parameters);
    free(symbols);
    free(decoded);
    free(out);
    free(workspace);
    free_prepared(&p);
    return h;
}

int main(void)
{
    static const struct sizes all[] = {
        {1, 2, 0, 1, 32, 32},      {1, 256, 128, 3, 64, 32}, {2, 6, 2, 2, 96, 64},  {7, 6, 5, 1, 32, 128},
        {8, 17, 0, 1, 128, 32},    {9, 256, 255, 2, 32, 32}, {24, 256, 128, 1, 96, 96}, {64, 256, 128, 1, 96, 96},
    };
    size_t i;
    unsigned seed;

    print_kernels();
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        for (seed = 1; seed <= 4; seed++) {
            printf("%u %u %u %u %u %u, %u: %016llx\n", all[i].channels, all[i].levels, all[i].zero, all[i].reach,
                   all[i].width, all[i].hidden, seed, (unsigned long long)code(all[i], seed, 9, 11));
        }
    }
    return 0;
}
