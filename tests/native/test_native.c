/*
 * test_native.c: packing and maps by themselves, for builds with -fsanitize=address,undefined. Every buffer is an
 * allocation of exactly its stated size, so that the sanitizer sees the first byte beside it. tests/test_native.py
 * builds and runs this; it prints one line and returns 0 when all is well.
 */
#include "check.h"
#include "edgecomp_native.h"

#include <string.h>

static uint64_t state = 0x9e3779b97f4a7c15u;

static unsigned random_below(unsigned limit)
{
    return random_from(&state, limit);
}

/* Few non-zero symbols, all symbols alike, or the two ends of the alphabet. */
static unsigned random_symbol(unsigned kind, unsigned levels, unsigned zero)
{
    switch (kind) {
    case 0:
        return zero;
    case 1:
        return random_below(8) != 0 ? zero : random_below(levels);
    case 2:
        return random_below(levels);
    case 3:
        return random_below(2) != 0 ? levels - 1 : 0;
    default:
        return levels - 1;
    }
}

struct volume {
    size_t c, h, w, n, cap;
    unsigned levels, zero;
    uint8_t *symbols, *counts, *packed;
    uint32_t *workspace;
};

static struct volume random_volume(void)
{
    static const unsigned sizes[] = {2, 3, 4, 5, 6, 7, 16, 17, 33, 255, 256};
    struct volume v;
    const unsigned kind = random_below(5);
    size_t i, c;

    v.c = random_below(9);
    v.h = random_below(12);
    v.w = random_below(12);
    v.n = v.c * v.h * v.w;
    v.levels = sizes[random_below(sizeof sizes / sizeof *sizes)];
    v.zero = random_below(3) != 0 ? v.levels / 2 : random_below(2) * (v.levels - 1);
    v.symbols = exactly(v.n);
    v.counts = random_below(2) != 0 ? exactly(v.h * v.w) : NULL;
    v.workspace = exactly(v.h * v.w * sizeof *v.workspace);
    for (i = 0; v.counts != NULL && i < v.h * v.w; i++) {
        v.counts[i] = (uint8_t)random_below((unsigned)v.c + 1);
    }
    for (c = 0; c < v.c; c++) {
        for (i = 0; i < v.h * v.w; i++) {
            const int coded = v.counts == NULL || c < v.counts[i];

            v.symbols[c * v.h * v.w + i] =
                (uint8_t)(coded ? random_symbol(kind, v.levels, v.zero) : v.zero);
        }
    }
    CHECK(edgecomp_pack_bound(v.c, v.h, v.w, v.levels, &v.cap) == EDGECOMP_OK);
    v.packed = exactly(v.cap);
    return v;
}

static void free_volume(struct volume *v)
{
    free(v->symbols);
    free(v->counts);
    free(v->packed);
    free(v->workspace);
}

static int pack(const struct volume *v, int layout, uint8_t *out, size_t cap, size_t *len)
{
    return edgecomp_pack(v->symbols, v->c, v->h, v->w, v->levels, v->zero, v->counts, layout, v->workspace,
                         v->h * v->w, out, cap, len);
}

static int unpack(const struct volume *v, const uint8_t *in, size_t len, uint8_t *symbols)
{
    return edgecomp_unpack(in, len, v->c, v->h, v->w, v->levels, v->zero, v->counts, v->workspace, v->h * v->w,
                           symbols, v->n);
}

/* Unpacks a copy of exactly its size. Returns the status; every symbol is below levels when it is OK. */
static int unpack_hostile(const struct volume *v, const uint8_t *bytes, size_t len)
{
    uint8_t *copy = exactly(len), *symbols = exactly(v->n);
    size_t i;
    int status;

    if (len != 0) {
        memcpy(copy, bytes, len);
    }
    status = unpack(v, copy, len, symbols);
    CHECK(status == EDGECOMP_OK || status == EDGECOMP_CORRUPT_DATA);
    for (i = 0; status == EDGECOMP_OK && i < v->n; i++) {
        CHECK(symbols[i] < v->levels);
    }
    free(copy);
    free(symbols);
    return status;
}

static void test_round_trips(int layout)
{
    int round;

    for (round = 0; round < 400; round++) {
        struct volume v = random_volume();
        /* SORTED may be larger than the bound: give it what its worst case takes. */
        const size_t cap = layout == EDGECOMP_LAYOUT_SORTED ? 4 * v.n + 1024 : v.cap;
        uint8_t *out = exactly(cap), *tight, *symbols = exactly(v.n);
        size_t len, again, i;

        CHECK(pack(&v, layout, out, cap, &len) == EDGECOMP_OK);
        CHECK(len >= 1 && len <= cap);
        CHECK(unpack(&v, out, len, symbols) == EDGECOMP_OK);
        CHECK(v.n == 0 || memcmp(symbols, v.symbols, v.n) == 0);
        /* Exactly enough room, and one byte less. */
        tight = exactly(len);
        if (layout != EDGECOMP_LAYOUT_AUTO) {
            CHECK(pack(&v, layout, tight, len, &again) == EDGECOMP_OK && again == len);
            CHECK(memcmp(tight, out, len) == 0);
        }
        CHECK(pack(&v, layout, tight, len - 1, &again) == EDGECOMP_OUTPUT_TOO_SMALL && again == 0);
        /* Damage: a cut, a spare byte, flipped bits. */
        for (i = 0; i < 24; i++) {
            const size_t cut = random_below((unsigned)len);
            const size_t at = random_below((unsigned)len);
            const uint8_t before = out[at];

            CHECK(unpack_hostile(&v, out, cut) == EDGECOMP_CORRUPT_DATA);
            out[at] = (uint8_t)(before ^ (1u << random_below(8)));
            unpack_hostile(&v, out, len);
            out[at] = before;
        }
        if (len < cap) {
            out[len] = 0;
            CHECK(unpack_hostile(&v, out, len + 1) == EDGECOMP_CORRUPT_DATA);
        }
        free(out);
        free(tight);
        free(symbols);
        free_volume(&v);
    }
}

static void test_noise(void)
{
    uint8_t noise[600];
    int round;
    size_t i;

    for (round = 0; round < 3000; round++) {
        struct volume v = random_volume();
        const size_t len = random_below(sizeof noise + 1);

        for (i = 0; i < len; i++) {
            /* Small bytes make plausible scales and lengths. */
            noise[i] = (uint8_t)(round % 2 != 0 ? random_below(4) : random_below(256));
        }
        if (len != 0) {
            noise[0] = (uint8_t)random_below(3);
        }
        unpack_hostile(&v, noise, len);
        free_volume(&v);
    }
}

static void test_arguments(void)
{
    uint8_t symbols[4] = {0, 1, 2, 3}, counts[4] = {1, 1, 1, 1}, out[16];
    uint32_t workspace[4];
    size_t len = 99;

#define PACK(levels, zero, counts_, layout, ws, ws_len) \
    edgecomp_pack(symbols, 1, 2, 2, levels, zero, counts_, layout, ws, ws_len, out, sizeof out, &len)
    CHECK(PACK(4, 0, counts, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_OK && len == 2);
    CHECK(PACK(1, 0, NULL, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT && len == 0);
    CHECK(PACK(257, 0, NULL, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(4, 4, NULL, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(3, 0, NULL, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT); /* symbol 3 */
    CHECK(PACK(4, 0, NULL, 3, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(4, 0, NULL, -1, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(4, 0, NULL, EDGECOMP_LAYOUT_AUTO, NULL, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(4, 0, NULL, EDGECOMP_LAYOUT_AUTO, workspace, 3) == EDGECOMP_BAD_ARGUMENT);
    counts[3] = 2; /* more than the channels */
    CHECK(PACK(4, 0, counts, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    counts[3] = 0; /* would drop a symbol that is not zero */
    CHECK(PACK(4, 0, counts, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(PACK(4, 3, counts, EDGECOMP_LAYOUT_AUTO, workspace, 4) == EDGECOMP_OK);
#undef PACK
    CHECK(edgecomp_pack(symbols, 1, 2, 2, 4, 0, NULL, 2, workspace, 4, out, 16, NULL) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_pack(NULL, 1, 2, 2, 4, 0, NULL, 2, workspace, 4, out, 16, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_pack(symbols, 1, 2, 2, 4, 0, NULL, 2, workspace, 4, NULL, 16, &len) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_pack(symbols, 1, 2, 2, 4, 0, NULL, 2, workspace, 4, NULL, 0, &len) ==
          EDGECOMP_OUTPUT_TOO_SMALL);
    CHECK(edgecomp_unpack(out, 2, 1, 2, 2, 4, 0, NULL, workspace, 4, symbols, 3) == EDGECOMP_OUTPUT_TOO_SMALL);
    CHECK(edgecomp_unpack(NULL, 2, 1, 2, 2, 4, 0, NULL, workspace, 4, symbols, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_unpack(out, 2, 1, 2, 2, 4, 0, NULL, workspace, 4, NULL, 4) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_unpack(NULL, 0, 1, 2, 2, 4, 0, NULL, workspace, 4, symbols, 4) == EDGECOMP_CORRUPT_DATA);
}

static void test_sizes(void)
{
    static const size_t huge[] = {1u << 31, SIZE_MAX / 2 + 1, SIZE_MAX / 3 * 2, SIZE_MAX - 1, SIZE_MAX};
    size_t bound, i, len;
    uint8_t byte;

    for (i = 0; i < sizeof huge / sizeof *huge; i++) {
        CHECK(edgecomp_pack_bound(huge[i], 1, 1, 2, &bound) == EDGECOMP_LIMIT_EXCEEDED && bound == 0);
        CHECK(edgecomp_pack_bound(1, huge[i], 3, 2, &bound) == EDGECOMP_LIMIT_EXCEEDED);
        CHECK(edgecomp_pack_bound(2, 2, huge[i], 2, &bound) == EDGECOMP_LIMIT_EXCEEDED);
        CHECK(edgecomp_pack_bound(huge[i], huge[i], huge[i], 256, &bound) == EDGECOMP_LIMIT_EXCEEDED);
        CHECK(edgecomp_pack_bound(0, huge[i], huge[i], 256, &bound) == EDGECOMP_OK && bound == 1);
        CHECK(edgecomp_pack(&byte, 1, huge[i], 2, 2, 0, &byte, 2, NULL, 0, &byte, 1, &len) ==
              EDGECOMP_LIMIT_EXCEEDED);
        CHECK(edgecomp_unpack(&byte, 1, 1, huge[i], 2, 2, 0, &byte, NULL, 0, &byte, 1) == EDGECOMP_LIMIT_EXCEEDED);
        CHECK(edgecomp_map_residual(&byte, huge[i], 2, 2, &byte) == EDGECOMP_LIMIT_EXCEEDED);
    }
    CHECK(edgecomp_pack_bound(1, 1, EDGECOMP_MAX_SYMBOLS, 256, &bound) == EDGECOMP_OK);
    CHECK(bound == (size_t)EDGECOMP_MAX_SYMBOLS + 1);
    CHECK(edgecomp_pack_bound(1, 1, 1, 1, &bound) == EDGECOMP_BAD_ARGUMENT);
    CHECK(edgecomp_pack_bound(1, 1, 1, 2, NULL) == EDGECOMP_BAD_ARGUMENT);
}

static void test_maps(void)
{
    int round;

    for (round = 0; round < 300; round++) {
        const size_t h = random_below(9), w = random_below(9);
        const unsigned levels = 2 + random_below(255);
        uint8_t *map = exactly(h * w), *residual = exactly(h * w), *back = exactly(h * w);
        size_t i;

        for (i = 0; i < h * w; i++) {
            map[i] = (uint8_t)random_below(levels);
        }
        CHECK(edgecomp_map_residual(map, h, w, levels, residual) == EDGECOMP_OK);
        CHECK(edgecomp_map_restore(residual, h, w, levels, back) == EDGECOMP_OK);
        for (i = 0; i < h * w; i++) {
            CHECK(residual[i] < levels && back[i] == map[i]);
        }
        if (h * w != 0 && levels < 256) {
            map[0] = (uint8_t)levels;
            CHECK(edgecomp_map_residual(map, h, w, levels, residual) == EDGECOMP_BAD_ARGUMENT);
            CHECK(edgecomp_map_restore(map, h, w, levels, residual) == EDGECOMP_BAD_ARGUMENT);
        }
        free(map);
        free(residual);
        free(back);
    }
}

int main(void)
{
    test_round_trips(EDGECOMP_LAYOUT_AUTO);
    test_round_trips(EDGECOMP_LAYOUT_DENSE);
    test_round_trips(EDGECOMP_LAYOUT_SORTED);
    test_noise();
    test_arguments();
    test_sizes();
    test_maps();
    CHECK(strcmp(edgecomp_status_text(EDGECOMP_CORRUPT_DATA), "corrupt data") == 0);
    CHECK(strcmp(edgecomp_status_text(1000), "unknown status") == 0);
    puts("test_native: all tests passed");
    return 0;
}
