/*
 * unpack.c: fuzzing target, hostile packed volumes and importance maps, as they come out of LZMA. An input is channels,
 * height, width, levels, zero and counts, one byte each, and packed bytes.
 */
#include "check.h"
#include "edgecomp_native.h"

#include <string.h>

#define HEAD 6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct volume {
    size_t channels, height, width, total;
    unsigned levels, zero;
    uint8_t *counts;
    uint32_t *workspace;
};

static int unpack(const struct volume *v, const uint8_t *packed, size_t size, uint8_t *symbols)
{
    return edgecomp_unpack(packed, size, v->channels, v->height, v->width, v->levels, v->zero, v->counts, v->workspace,
                           v->height * v->width, symbols, v->total);
}

static void pack_again(const struct volume *v, const uint8_t *symbols)
{
    uint8_t *packed, *again = exactly(v->total);
    size_t bound, length;

    CHECK(edgecomp_pack_bound(v->channels, v->height, v->width, v->levels, &bound) == EDGECOMP_OK);
    packed = exactly(bound);
    CHECK(edgecomp_pack(symbols, v->channels, v->height, v->width, v->levels, v->zero, v->counts, EDGECOMP_LAYOUT_AUTO,
                        v->workspace, v->height * v->width, packed, bound, &length) == EDGECOMP_OK);
    CHECK(unpack(v, packed, length, again) == EDGECOMP_OK);
    CHECK(v->total == 0 || memcmp(symbols, again, v->total) == 0);
    free(packed);
    free(again);
}

/* The first bytes as a map, whatever they are. */
static void map(const uint8_t *bytes, size_t height, size_t width, unsigned levels)
{
    uint8_t *restored = exactly(height * width), *residual = exactly(height * width);
    const int status = edgecomp_map_restore(bytes, height, width, levels, restored);

    CHECK(status == EDGECOMP_OK || status == EDGECOMP_BAD_ARGUMENT);
    if (status == EDGECOMP_OK) {
        CHECK(edgecomp_map_residual(restored, height, width, levels, residual) == EDGECOMP_OK);
        CHECK(height * width == 0 || memcmp(bytes, residual, height * width) == 0);
    }
    free(restored);
    free(residual);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct volume v;
    uint8_t *packed, *symbols;
    size_t i;
    int status;

    if (size < HEAD) {
        return 0;
    }
    v.channels = data[0] % 10;
    v.height = data[1] % 10;
    v.width = data[2] % 10;
    v.total = v.channels * v.height * v.width;
    v.levels = 2u + data[3] % 255u;
    v.zero = data[4] % v.levels;
    v.counts = data[5] != 0 ? exactly(v.height * v.width) : NULL;
    for (i = 0; v.counts != NULL && i < v.height * v.width; i++) {
        v.counts[i] = (uint8_t)((i * 7 + data[5]) % (v.channels + 1));
    }
    v.workspace = exactly(v.height * v.width * sizeof *v.workspace);
    symbols = exactly(v.total);
    size -= HEAD;
    packed = exactly(size);
    if (size != 0) {
        memcpy(packed, data + HEAD, size);
    }

    status = unpack(&v, packed, size, symbols);
    CHECK(status == EDGECOMP_OK || status == EDGECOMP_CORRUPT_DATA);
    if (status == EDGECOMP_OK) {
        for (i = 0; i < v.total; i++) {
            CHECK(symbols[i] < v.levels);
        }
        pack_again(&v, symbols);
    }
    if (size >= v.height * v.width) {
        map(packed, v.height, v.width, v.levels);
    }
    free(v.counts);
    free(v.workspace);
    free(symbols);
    free(packed);
    return 0;
}
