/* pack.c: argument checks, the choice of a layout, and the layout byte. */
#include "pack_internal.h"

#include <string.h>

const char *edgecomp_status_text(int status)
{
    switch (status) {
    case EDGECOMP_OK:
        return "no error";
    case EDGECOMP_BAD_ARGUMENT:
        return "bad argument";
    case EDGECOMP_OUTPUT_TOO_SMALL:
        return "output buffer too small";
    case EDGECOMP_CORRUPT_DATA:
        return "corrupt data";
    case EDGECOMP_LIMIT_EXCEEDED:
        return "limit exceeded";
    case EDGECOMP_OUT_OF_MEMORY:
        return "out of memory";
    default:
        return "unknown status";
    }
}

/* channels * height * width without overflow. */
static int count_symbols(size_t channels, size_t height, size_t width, size_t *symbols)
{
    const size_t most = EDGECOMP_MAX_SYMBOLS;

    *symbols = 0;
    if (channels == 0 || height == 0 || width == 0) {
        return EDGECOMP_OK;
    }
    if (channels > most || height > most / channels || width > most / (channels * height)) {
        return EDGECOMP_LIMIT_EXCEEDED;
    }
    *symbols = channels * height * width;
    return EDGECOMP_OK;
}

int edgecomp_check_volume(const struct edgecomp_volume *v, size_t *symbols, size_t *coded)
{
    size_t i, plane, sum = 0;
    int status;

    if (v->levels < EDGECOMP_MIN_LEVELS || v->levels > EDGECOMP_MAX_LEVELS || v->zero >= v->levels) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    status = count_symbols(v->channels, v->height, v->width, symbols);
    *coded = *symbols;
    if (status != EDGECOMP_OK || *symbols == 0 || v->counts == NULL) {
        return status;
    }
    plane = v->height * v->width;
    for (i = 0; i < plane; i++) {
        if (v->counts[i] > v->channels) {
            return EDGECOMP_BAD_ARGUMENT;
        }
        sum += v->counts[i];
    }
    *coded = sum;
    return EDGECOMP_OK;
}

/* Whether every symbol is in the alphabet and every symbol that is left out is the zero symbol. */
static int symbols_valid(const struct edgecomp_volume *v, const uint8_t *symbols, size_t count)
{
    const size_t plane = v->height * v->width;
    size_t c, i;
    unsigned bad = 0;

    for (i = 0; i < count; i++) {
        bad |= symbols[i] >= v->levels;
    }
    if (v->counts != NULL && count != 0) {
        for (c = 0; c < v->channels; c++) {
            for (i = 0; i < plane; i++) {
                bad |= (unsigned)((c >= v->counts[i]) & (symbols[c * plane + i] != v->zero));
            }
        }
    }
    return bad == 0;
}

static int workspace_fits(const struct edgecomp_volume *v, size_t count, const uint32_t *workspace, size_t length)
{
    return count == 0 || (workspace != NULL && length >= v->height * v->width);
}

int edgecomp_pack_bound(size_t channels, size_t height, size_t width, unsigned levels, size_t *bound)
{
    size_t symbols;
    int status;

    if (bound == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *bound = 0;
    if (levels < EDGECOMP_MIN_LEVELS || levels > EDGECOMP_MAX_LEVELS) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    status = count_symbols(channels, height, width, &symbols);
    if (status == EDGECOMP_OK) {
        *bound = 1 + edgecomp_dense_size(symbols, levels);
    }
    return status;
}

int edgecomp_pack(const uint8_t *symbols, size_t channels, size_t height, size_t width, unsigned levels,
                  unsigned zero, const uint8_t *counts, int layout, uint32_t *workspace,
                  size_t workspace_len, uint8_t *out, size_t out_cap, size_t *out_len)
{
    const struct edgecomp_volume v = {channels, height, width, levels, zero, counts};
    size_t count, coded, dense, body;
    int status;

    if (out_len == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *out_len = 0;
    if (layout != EDGECOMP_LAYOUT_DENSE && layout != EDGECOMP_LAYOUT_SORTED && layout != EDGECOMP_LAYOUT_AUTO) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    status = edgecomp_check_volume(&v, &count, &coded);
    if (status != EDGECOMP_OK) {
        return status;
    }
    if ((symbols == NULL && count != 0) || (out == NULL && out_cap != 0) ||
        !workspace_fits(&v, count, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (!symbols_valid(&v, symbols, count)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (out_cap == 0) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    dense = edgecomp_dense_size(coded, levels);
    if (layout != EDGECOMP_LAYOUT_DENSE) {
        size_t limit = out_cap - 1;

        if (layout == EDGECOMP_LAYOUT_AUTO && limit >= dense) {
            limit = dense == 0 ? 0 : dense - 1;
        }
        status = edgecomp_sorted_pack(&v, symbols, out + 1, limit, &body, workspace);
        if (status == EDGECOMP_OK) {
            out[0] = EDGECOMP_LAYOUT_SORTED;
            *out_len = 1 + body;
            return EDGECOMP_OK;
        }
        if (layout == EDGECOMP_LAYOUT_SORTED) {
            return status;
        }
    }
    if (out_cap - 1 < dense) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    out[0] = EDGECOMP_LAYOUT_DENSE;
    edgecomp_dense_pack(&v, symbols, out + 1);
    *out_len = 1 + dense;
    return EDGECOMP_OK;
}

int edgecomp_unpack(const uint8_t *in, size_t in_len, size_t channels, size_t height, size_t width, unsigned levels,
                    unsigned zero, const uint8_t *counts, uint32_t *workspace, size_t workspace_len,
                    uint8_t *symbols, size_t symbols_cap)
{
    const struct edgecomp_volume v = {channels, height, width, levels, zero, counts};
    size_t count, coded;
    int status;

    status = edgecomp_check_volume(&v, &count, &coded);
    if (status != EDGECOMP_OK) {
        return status;
    }
    if ((in == NULL && in_len != 0) || (symbols == NULL && symbols_cap != 0) ||
        !workspace_fits(&v, count, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (symbols_cap < count) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    if (in_len == 0) {
        return EDGECOMP_CORRUPT_DATA;
    }
    /* Symbols that are left out, by the importance map or as a channel of zeros, keep this value. */
    if (count != 0) {
        memset(symbols, (int)zero, count);
    }
    switch (in[0]) {
    case EDGECOMP_LAYOUT_DENSE:
        if (in_len - 1 != edgecomp_dense_size(coded, levels)) {
            return EDGECOMP_CORRUPT_DATA;
        }
        return edgecomp_dense_unpack(&v, in + 1, in_len - 1, symbols);
    case EDGECOMP_LAYOUT_SORTED:
        return edgecomp_sorted_unpack(&v, in + 1, in_len - 1, symbols, workspace);
    default:
        return EDGECOMP_CORRUPT_DATA;
    }
}
