/*
 * pack_codes.c: prints, for volumes of many shapes, with and without importance maps, a hash of what each layout packs
 * them to and of the map's differences: the same lines on every processor, whatever its byte order.
 * tests/test_context_processors.py compares them.
 */
#include "check.h"
#include "edgecomp_native.h"

#include <inttypes.h>
#include <string.h>

struct shape {
    size_t channels, height, width;
    unsigned levels, zero;
};

/* Symbols of a kind: of 0 few differ from zero, of 1 all may be anything, of 2 all are alike. */
static void fill(const struct shape *s, unsigned kind, const uint8_t *counts, uint64_t *state, uint8_t *symbols)
{
    const size_t plane = s->height * s->width;
    size_t i;

    for (i = 0; i < s->channels * plane; i++) {
        const int coded = counts == NULL || i / plane < counts[i % plane];
        const int differs = kind == 1 || (kind == 0 && random_from(state, 6) == 0);

        symbols[i] = (uint8_t)(coded && differs ? random_from(state, s->levels) : s->zero);
    }
}

static uint64_t packed(const struct shape *s, const uint8_t *symbols, const uint8_t *counts, int layout)
{
    const size_t plane = s->height * s->width, total = s->channels * plane, cap = 4 * total + 1024;
    uint8_t *out = exactly(cap), *back = exactly(total);
    uint32_t *workspace = exactly(plane * sizeof *workspace);
    uint64_t h;
    size_t length;

    CHECK(edgecomp_pack(symbols, s->channels, s->height, s->width, s->levels, s->zero, counts, layout, workspace,
                        plane, out, cap, &length) == EDGECOMP_OK);
    CHECK(edgecomp_unpack(out, length, s->channels, s->height, s->width, s->levels, s->zero, counts, workspace, plane,
                          back, total) == EDGECOMP_OK);
    CHECK(memcmp(symbols, back, total) == 0);
    h = hash(out, length);
    free(out);
    free(back);
    free(workspace);
    return h;
}

/* A line for each kind of symbols, with and without a map. */
static void print_hashes(const struct shape *s)
{
    static const int layouts[] = {EDGECOMP_LAYOUT_AUTO, EDGECOMP_LAYOUT_DENSE, EDGECOMP_LAYOUT_SORTED};
    const size_t plane = s->height * s->width;
    uint8_t *symbols = exactly(s->channels * plane), *counts = exactly(plane), *residual = exactly(plane);
    uint64_t state = 0x9e3779b97f4a7c15u;
    unsigned kind, with_map;
    size_t i;

    for (kind = 0; kind < 3; kind++) {
        for (with_map = 0; with_map < 2; with_map++) {
            for (i = 0; i < plane; i++) {
                counts[i] = (uint8_t)random_from(&state, (unsigned)s->channels + 1);
            }
            fill(s, kind, with_map ? counts : NULL, &state, symbols);
            printf("%zu %zu %zu %u %u, %u %u:", s->channels, s->height, s->width, s->levels, s->zero, kind, with_map);
            for (i = 0; i < sizeof layouts / sizeof *layouts; i++) {
                printf(" %016" PRIx64, packed(s, symbols, with_map ? counts : NULL, layouts[i]));
            }
            CHECK(edgecomp_map_residual(counts, s->height, s->width, (unsigned)s->channels + 1, residual) ==
                  EDGECOMP_OK);
            printf(" %016" PRIx64 "\n", hash(residual, plane));
        }
    }
    free(symbols);
    free(counts);
    free(residual);
}

int main(void)
{
    static const struct shape all[] = {
        {1, 1, 1, 2, 0},    {3, 5, 7, 5, 2},     {8, 18, 25, 6, 2},   {6, 9, 13, 16, 15},
        {7, 11, 6, 17, 8},  {12, 18, 25, 256, 128}, {64, 18, 25, 256, 128}, {5, 40, 3, 255, 0},
    };
    size_t i;

    for (i = 0; i < sizeof all / sizeof *all; i++) {
        print_hashes(&all[i]);
    }
    return 0;
}
