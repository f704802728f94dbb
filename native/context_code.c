/* context_code.c: symbol volumes to bytes and back, by the context model and the range coder. */
#include "context_predict.h"
#include "pack_internal.h"

#include <string.h>

/* Checks what does not depend on the symbols, and opens the model. *symbols: how many there are. */
static int check(const uint8_t *prepared, size_t prepared_len, size_t height, size_t width, const uint8_t *counts,
                 int kernels, struct context_model *m, size_t *symbols)
{
    struct edgecomp_volume v;
    size_t coded;
    const int status = edgecomp_context_open(prepared, prepared_len, m);

    *symbols = 0;
    if (status != EDGECOMP_OK) {
        return status;
    }
    if (edgecomp_context_kernels(kernels) == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    v.channels = m->channels;
    v.height = height;
    v.width = width;
    v.levels = m->levels;
    v.zero = m->zero;
    v.counts = counts;
    return edgecomp_check_volume(&v, symbols, &coded);
}

static int workspace_fits(const struct context_model *m, size_t symbols, size_t width, const uint8_t *workspace,
                          size_t length)
{
    const size_t size = edgecomp_context_walk_size(m, width);

    return symbols == 0 || (size != 0 && workspace != NULL && length >= size);
}

/* Channels of a volume's row to positions, by place in the coding order, or back. */
static void gather(const struct context_walk *w, const uint8_t *symbols, size_t plane, size_t y)
{
    const size_t channels = w->model->channels;
    size_t place, x;

    for (place = 0; place < channels; place++) {
        const uint8_t *row = symbols + w->model->order[place] * plane + y * w->columns;

        for (x = 0; x < w->columns; x++) {
            w->symbols[x * channels + place] = row[x];
        }
    }
}

static void scatter(const struct context_walk *w, uint8_t *symbols, size_t plane, size_t y)
{
    const size_t channels = w->model->channels;
    size_t place, x;

    for (place = 0; place < channels; place++) {
        uint8_t *row = symbols + w->model->order[place] * plane + y * w->columns;

        for (x = 0; x < w->columns; x++) {
            row[x] = w->symbols[x * channels + place];
        }
    }
}

static size_t group_channels(const struct context_model *m, size_t group)
{
    const size_t left = m->channels - group * CONTEXT_GROUP;

    return left < CONTEXT_GROUP ? left : CONTEXT_GROUP;
}

/* What an encoder may change: see edgecomp_context_encode_chosen. */
struct choice {
    const int8_t *fractions; /* of the volume, or NULL */
    size_t plane;            /* positions of the volume */
    uint32_t threshold;
    uint8_t *chosen; /* receives the symbols that were coded */
    size_t chosen_cap;
};

/* 256 log2(frequency), rounded down; the frequency is not 0. The bits after the point by squaring. */
static int32_t log2_256(uint32_t frequency)
{
    uint64_t mantissa = frequency; /* 2^31 stands for one */
    int32_t log = 31, i;

    for (; mantissa < 1ull << 31; mantissa <<= 1) {
        log--;
    }
    for (i = 0; i < 8; i++) {
        const uint64_t square = mantissa * mantissa >> 31;
        const unsigned two = (unsigned)(square >> 32);

        mantissa = square >> two;
        log = 2 * log + (int32_t)two;
    }
    return log;
}

static uint32_t frequency_of(const struct context_model *m, struct context_distribution d, unsigned symbol)
{
    return context_cumulative(m, d, symbol + 1) - context_cumulative(m, d, symbol);
}

/*
 * Zero instead of a symbol of magnitude one whose bits it is not worth. The squared error of the latent grows by
 * 1 + 2 v f, v = 1 or -1 and f the latent less v; f comes in 256ths, so 128 (1 + 2 v f) = 128 + v f. The
 * threshold has 32 bits and the loss 8: their product fits.
 */
static unsigned choose(const struct context_model *m, struct context_distribution d, const struct choice *c, size_t at,
                       unsigned symbol)
{
    const int32_t v = (int32_t)symbol - (int32_t)m->zero;
    int64_t saved, loss = 128;

    if (v != 1 && v != -1) {
        return symbol;
    }
    if (c->fractions != NULL) {
        loss += v * c->fractions[at];
    }
    saved = log2_256(frequency_of(m, d, m->zero)) - log2_256(frequency_of(m, d, symbol));
    return 128 * saved > (int64_t)c->threshold * loss ? m->zero : symbol;
}

/* Encodes a position, with a choice or without (NULL); returns whether all symbols were allowed. */
static int encode_position(struct context_walk *w, struct range_encoder *rc, size_t y, size_t x, size_t count,
                           const struct choice *choice)
{
    const struct context_model *m = w->model;
    uint8_t *symbols = w->symbols + x * m->channels;
    size_t group, i;
    int allowed = 1;

    edgecomp_context_position(w, y, x);
    for (group = 0; group < m->groups; group++) {
        const size_t first = group * CONTEXT_GROUP, channels = group_channels(m, group);

        edgecomp_context_group(w, group);
        for (i = 0; i < channels; i++) {
            unsigned symbol = symbols[first + i];
            uint32_t start;

            if (m->order[first + i] >= count) {
                allowed &= symbol == m->zero;
                continue;
            }
            if (symbol >= m->levels) {
                return 0;
            }
            if (choice != NULL) {
                const size_t at = m->order[first + i] * choice->plane + y * w->columns + x;

                symbol = choose(m, w->group[i], choice, at, symbol);
                symbols[first + i] = (uint8_t)symbol;
            }
            start = context_cumulative(m, w->group[i], symbol);
            range_encode(rc, start, context_cumulative(m, w->group[i], symbol + 1) - start);
            context_tell(w, first + i, (int)symbol - (int)m->zero);
        }
        edgecomp_context_group_end(w);
    }
    return allowed;
}

/* The symbol whose interval holds the code: the nearest to the mean first, then in growing steps, then by halves. */
static unsigned decode_symbol(const struct context_model *m, struct context_distribution d, struct range_decoder *rc)
{
    const uint64_t unit = range_unit(rc);
    int32_t guess = (int32_t)m->zero + ((d.mean + 32768 + (1 << (CONTEXT_MEAN_BITS - 1))) >> CONTEXT_MEAN_BITS) -
                    (32768 >> CONTEXT_MEAN_BITS);
    unsigned low, high, step; /* low <= symbol < high */
    uint32_t start, end;

    guess = guess < 0 ? 0 : guess >= (int32_t)m->levels ? (int32_t)m->levels - 1 : guess;
    low = (unsigned)guess;
    high = low + 1;
    start = context_cumulative(m, d, low);
    end = context_cumulative(m, d, high);
    if (rc->code < unit * start) {
        for (step = 1; rc->code < unit * start; step *= 2) {
            high = low;
            end = start;
            low = low > step ? low - step : 0;
            start = context_cumulative(m, d, low);
        }
    } else if (rc->code >= unit * end) {
        for (step = 1; rc->code >= unit * end && high < m->levels; step *= 2) {
            low = high;
            start = end;
            high = high + step < m->levels ? high + step : m->levels;
            end = context_cumulative(m, d, high);
        }
    }
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        const uint32_t at = context_cumulative(m, d, middle);

        if (rc->code < unit * at) {
            high = middle;
            end = at;
        } else {
            low = middle;
            start = at;
        }
    }
    range_decode(rc, unit, start, end - start);
    return low;
}

static void decode_position(struct context_walk *w, struct range_decoder *rc, size_t y, size_t x, size_t count)
{
    const struct context_model *m = w->model;
    uint8_t *symbols = w->symbols + x * m->channels;
    size_t group, i;

    edgecomp_context_position(w, y, x);
    for (group = 0; group < m->groups; group++) {
        const size_t first = group * CONTEXT_GROUP, channels = group_channels(m, group);

        edgecomp_context_group(w, group);
        for (i = 0; i < channels; i++) {
            unsigned symbol = m->zero;

            if (m->order[first + i] < count) {
                symbol = decode_symbol(m, w->group[i], rc);
                context_tell(w, first + i, (int)symbol - (int)m->zero);
            }
            symbols[first + i] = (uint8_t)symbol;
        }
        edgecomp_context_group_end(w);
    }
}

int edgecomp_context_workspace(const uint8_t *prepared, size_t prepared_len, size_t width, size_t *size)
{
    struct context_model m;

    if (size == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *size = 0;
    if (edgecomp_context_open(prepared, prepared_len, &m) != EDGECOMP_OK) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *size = edgecomp_context_walk_size(&m, width);
    return *size != 0 ? EDGECOMP_OK : EDGECOMP_LIMIT_EXCEEDED;
}

/* Both encoders; choice is NULL where nothing may be changed. */
static int encode(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols, size_t height, size_t width,
                  const uint8_t *counts, const struct choice *choice, int kernels, uint8_t *workspace,
                  size_t workspace_len, uint8_t *out, size_t out_cap, size_t *out_len)
{
    struct context_model m;
    struct context_walk w;
    struct range_encoder rc;
    size_t total, y, x;
    int status;

    if (out_len == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *out_len = 0;
    status = check(prepared, prepared_len, height, width, counts, kernels, &m, &total);
    if (status != EDGECOMP_OK || total == 0) {
        return status;
    }
    if (choice != NULL && choice->chosen == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (choice != NULL && choice->chosen_cap < total) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    if (symbols == NULL || (out == NULL && out_cap != 0) ||
        !workspace_fits(&m, total, width, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    edgecomp_context_walk_start(&w, &m, edgecomp_context_kernels(kernels), width, workspace);
    range_encoder_start(&rc, out, out_cap);
    for (y = 0; y < height && !rc.full; y++) {
        gather(&w, symbols, height * width, y);
        for (x = 0; x < width; x++) {
            if (!encode_position(&w, &rc, y, x, counts != NULL ? counts[y * width + x] : m.channels, choice)) {
                return EDGECOMP_BAD_ARGUMENT;
            }
        }
        if (choice != NULL) {
            scatter(&w, choice->chosen, height * width, y);
        }
    }
    if (!range_encoder_end(&rc)) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    *out_len = rc.size;
    return EDGECOMP_OK;
}

int edgecomp_context_encode(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols, size_t height,
                            size_t width, const uint8_t *counts, int kernels, uint8_t *workspace, size_t workspace_len,
                            uint8_t *out, size_t out_cap, size_t *out_len)
{
    return encode(prepared, prepared_len, symbols, height, width, counts, NULL, kernels, workspace, workspace_len, out,
                  out_cap, out_len);
}

int edgecomp_context_encode_chosen(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols,
                                   const int8_t *fractions, size_t height, size_t width, const uint8_t *counts,
                                   uint32_t threshold, int kernels, uint8_t *workspace, size_t workspace_len,
                                   uint8_t *chosen, size_t chosen_cap, uint8_t *out, size_t out_cap, size_t *out_len)
{
    const struct choice choice = {fractions, height * width, threshold, chosen, chosen_cap};

    return encode(prepared, prepared_len, symbols, height, width, counts, &choice, kernels, workspace, workspace_len,
                  out, out_cap, out_len);
}

int edgecomp_context_decode(const uint8_t *prepared, size_t prepared_len, const uint8_t *in, size_t in_len,
                            size_t height, size_t width, const uint8_t *counts, int kernels, uint8_t *workspace,
                            size_t workspace_len, uint8_t *symbols, size_t symbols_cap)
{
    struct context_model m;
    struct context_walk w;
    struct range_decoder rc;
    size_t total, y, x;
    int status = check(prepared, prepared_len, height, width, counts, kernels, &m, &total);

    if (status != EDGECOMP_OK) {
        return status;
    }
    if ((in == NULL && in_len != 0) || (symbols == NULL && total != 0) ||
        !workspace_fits(&m, total, width, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (symbols_cap < total) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    if (total == 0) {
        return in_len == 0 ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
    }
    edgecomp_context_walk_start(&w, &m, edgecomp_context_kernels(kernels), width, workspace);
    range_decoder_start(&rc, in, in_len);
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            decode_position(&w, &rc, y, x, counts != NULL ? counts[y * width + x] : m.channels);
        }
        scatter(&w, symbols, height * width, y);
    }
    return range_decoder_ended_well(&rc) ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
}
