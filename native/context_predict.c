/* context_predict.c: see context_predict.h. docs/format-context.md, section 3, has the formulas. */
#include "context_predict.h"

#include <string.h>

struct parts {
    size_t ends, terms, values, sums0, linear, sums, sums1, outputs, active0, active1, symbols, total;
};

static size_t part(size_t *at, size_t bytes)
{
    const size_t start = *at;

    *at += context_aligned(bytes);
    return start;
}

/* Rows that are remembered: those above and this one. */
static size_t ring_of(const struct context_model *m)
{
    return m->reach + 1;
}

/* Positions of a row, and those on both sides of it that neighbours may lie at. */
static size_t padded(const struct context_model *m, size_t columns)
{
    return columns + 2 * (size_t)m->reach;
}

/* Channels in whole groups. */
static size_t places_of(const struct context_model *m)
{
    return (size_t)m->groups * CONTEXT_GROUP;
}

static struct parts lay_out(const struct context_model *m, size_t columns)
{
    const size_t ring = ring_of(m), symbols = columns * m->channels;
    struct parts p;
    size_t at = 0;

    p.ends = part(&at, ring * (1 + padded(m, columns)) * sizeof(size_t));
    p.terms = part(&at, ring * symbols * sizeof(struct context_term));
    p.values = part(&at, ring * padded(m, columns) * places_of(m) * sizeof(int16_t));
    p.sums0 = part(&at, CONTEXT_BATCH * m->width * sizeof(int32_t));
    p.linear = part(&at, CONTEXT_BATCH * places_of(m) * sizeof(int32_t));
    p.sums = part(&at, m->width * sizeof(int32_t));
    p.sums1 = part(&at, m->hidden * sizeof(int32_t));
    p.outputs = part(&at, CONTEXT_OUTPUTS * sizeof(int32_t));
    p.active0 = part(&at, m->width * sizeof(int16_t));
    p.active1 = part(&at, m->hidden * sizeof(int16_t));
    p.symbols = part(&at, symbols);
    p.total = at + EDGECOMP_CONTEXT_ALIGNMENT; /* to align the first */
    return p;
}

size_t edgecomp_context_walk_size(const struct context_model *m, size_t columns)
{
    /* Below 8 KiB a column: no product overflows a size_t of 64 bits, and fewer columns fit one of 32. */
    if (columns > SIZE_MAX / 65536u) {
        return 0;
    }
    return lay_out(m, columns).total;
}

void edgecomp_context_walk_start(struct context_walk *w, const struct context_model *m,
                                 const struct context_kernels *kernels, size_t columns, uint8_t *workspace)
{
    const struct parts p = lay_out(m, columns);
    const size_t symbols = columns * m->channels;
    uint8_t *base = workspace;
    size_t i;

    base += context_aligned((uintptr_t)base) - (uintptr_t)base;
    w->model = m;
    w->kernels = kernels;
    w->columns = columns;
    w->sums0 = (void *)(base + p.sums0);
    w->linear = (void *)(base + p.linear);
    w->sums = (void *)(base + p.sums);
    w->sums1 = (void *)(base + p.sums1);
    w->outputs = (void *)(base + p.outputs);
    w->active0 = (void *)(base + p.active0);
    w->active1 = (void *)(base + p.active1);
    w->symbols = base + p.symbols;
    for (i = 0; i < ring_of(m); i++) {
        w->rows[i].ends = (size_t *)(void *)(base + p.ends) + i * (1 + padded(m, columns));
        w->rows[i].terms = (struct context_term *)(void *)(base + p.terms) + i * symbols;
        w->rows[i].values = (int16_t *)(void *)(base + p.values) + i * padded(m, columns) * places_of(m);
        memset(w->rows[i].values, 0, padded(m, columns) * places_of(m) * sizeof(int16_t));
        memset(w->rows[i].ends, 0, (1 + padded(m, columns)) * sizeof(size_t));
    }
}

void edgecomp_context_row(struct context_walk *w, size_t y)
{
    const size_t ring = ring_of(w->model);
    const struct context_row last = w->rows[ring - 1];
    size_t i;

    for (i = ring - 1; i > 0; i--) {
        w->rows[i] = w->rows[i - 1];
    }
    w->rows[0] = last;
    memset(last.values, 0, padded(w->model, w->columns) * places_of(w->model) * sizeof(int16_t));
    w->count = 0;
    w->y = y;
}

/* sums = start + what the neighbours in one row add; the first is x less the reach. */
static void add_neighbours(const struct context_walk *w, int32_t *sums, const int32_t *start, size_t above, size_t x,
                           size_t neighbours)
{
    const struct context_model *m = w->model;
    const struct context_row *row = w->rows + above;
    const size_t from = row->ends[x];

    w->kernels->add_rows(sums, start, m->width, m->rows + above * m->channels * 2 * m->span * m->width,
                         row->terms + from, row->ends[x + neighbours] - from, (unsigned)x);
}

/* What the rows above add to the sums of the next positions, for one row after another: its weights then stay in the
 * nearest cache, which all weights together do not. */
static void add_rows_above(struct context_walk *w, size_t x)
{
    const struct context_model *m = w->model;
    const size_t batch = w->columns - x < CONTEXT_BATCH ? w->columns - x : CONTEXT_BATCH;
    const size_t places = places_of(m);
    size_t i, above;

    memset(w->linear, 0, batch * places * sizeof(int32_t));
    for (above = m->reach; above > 0; above--) {
        for (i = 0; i < batch; i++) {
            int32_t *sums = w->sums0 + i * m->width;

            add_neighbours(w, sums, above == m->reach ? m->bias0 : sums, above, x + i, m->span);
            w->kernels->add_linear(w->linear + i * places, places,
                                   m->linear + (m->reach - above) * m->span * places,
                                   w->rows[above].values + (x + i) * places, m->span);
        }
    }
}

void edgecomp_context_position(struct context_walk *w, size_t x)
{
    const struct context_model *m = w->model;
    const size_t at = x % CONTEXT_BATCH, places = places_of(m);

    if (at == 0) {
        add_rows_above(w, x);
    }
    add_neighbours(w, w->sums, w->sums0 + at * m->width, 0, x, m->reach);
    w->kernels->add_linear(w->linear + at * places, places, m->linear + m->reach * m->span * places,
                           w->rows->values + x * places, m->reach);
    w->kernels->activate(w->active0, w->sums, m->width, m->shift0);
    w->kernels->multiply(w->sums1, m->hidden, w->active0, m->width, m->dense, m->bias1);
    w->kernels->activate(w->active1, w->sums1, m->hidden, m->shift1);
    w->x = x;
}

/* Rounds towards minus infinity, which a shift of a negative number does only on most machines. */
static int32_t shifted(int32_t value, unsigned shift)
{
    return value >= 0 ? value >> shift : -((-value - 1) >> shift) - 1;
}

static int32_t within(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* The distributions of group g, of its outputs and the linear sums of its places. */
static void distribute(struct context_group *group, const struct context_model *m, size_t g, const int32_t *outputs,
                       const int32_t *linear)
{
    const int32_t half = 1 << (CONTEXT_MEAN_BITS - 1);
    const uint8_t *mean_shift = m->mean_shift + g * CONTEXT_GROUP;
    size_t i;

    for (i = 0; i < CONTEXT_GROUP; i++) {
        const int32_t mean = shifted(outputs[i] + linear[i], mean_shift[i]);
        const int32_t scale = shifted(outputs[CONTEXT_GROUP + i], m->scale_shift);

        group->mean[i] = within(mean, -CONTEXT_MEAN_LIMIT, CONTEXT_MEAN_LIMIT);
        group->inverse[i] = m->inverse[within(scale, 0, (int32_t)CONTEXT_SCALES - 1)];
        group->low[i] = context_entry(-half - group->mean[i], group->inverse[i]);
        group->high[i] = context_entry(half - group->mean[i], group->inverse[i]);
    }
}

void edgecomp_context_group(struct context_walk *w, size_t group)
{
    const struct context_model *m = w->model;
    const int32_t *linear = w->linear + w->x % CONTEXT_BATCH * places_of(m) + group * CONTEXT_GROUP;

    if (w->kernels->predict != NULL) {
        w->kernels->predict(&w->group, m, group, w->active1, linear);
    } else {
        w->kernels->multiply(w->outputs, CONTEXT_OUTPUTS, w->active1, m->hidden,
                             m->out + group * m->hidden * CONTEXT_OUTPUTS, m->out_bias + group * CONTEXT_OUTPUTS);
        distribute(&w->group, m, group, w->outputs, linear);
    }
    w->group_start = w->count;
}

void edgecomp_context_group_end(struct context_walk *w)
{
    const struct context_model *m = w->model;
    const size_t count = w->count - w->group_start;

    if (count > 0) {
        w->kernels->add_rows(w->sums1, w->sums1, m->hidden, m->within, w->group_terms, count, 0);
        w->kernels->activate(w->active1, w->sums1, m->hidden, m->shift1);
    }
}

void edgecomp_context_position_end(struct context_walk *w)
{
    const size_t reach = w->model->reach;
    size_t i;

    w->rows->ends[w->x + reach + 1] = w->count;
    if (w->x + 1 == w->columns) { /* no symbols beyond the row's end */
        for (i = 0; i < reach; i++) {
            w->rows->ends[w->columns + reach + 1 + i] = w->count;
        }
    }
}
