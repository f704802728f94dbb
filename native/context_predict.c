/* context_predict.c: see context_predict.h. docs/format-context.md, section 3, has the formulas. */
#include "context_predict.h"

#include <string.h>

struct parts {
    size_t entries, entry_counts, sums0, sums1, outputs, linear, active0, active1, symbols, total;
};

static size_t part(size_t *at, size_t bytes)
{
    const size_t start = *at;

    *at += context_aligned(bytes);
    return start;
}

static struct parts lay_out(const struct context_model *m, size_t columns)
{
    const size_t ring = m->reach + 1;
    struct parts p;
    size_t at = 0;

    p.entries = part(&at, ring * columns * m->channels * sizeof(struct context_entry));
    p.entry_counts = part(&at, ring * columns * sizeof(uint16_t));
    p.sums0 = part(&at, m->width * sizeof(int32_t));
    p.sums1 = part(&at, m->hidden * sizeof(int32_t));
    p.outputs = part(&at, 2 * CONTEXT_GROUP * sizeof(int32_t));
    p.linear = part(&at, m->groups * CONTEXT_GROUP * sizeof(int32_t));
    p.active0 = part(&at, m->width * sizeof(int16_t));
    p.active1 = part(&at, m->hidden * sizeof(int16_t));
    p.symbols = part(&at, columns * m->channels);
    p.total = at + EDGECOMP_CONTEXT_ALIGNMENT; /* to align the first */
    return p;
}

size_t edgecomp_context_walk_size(const struct context_model *m, size_t columns)
{
    /* Below 40 KiB a column: no product overflows a size_t of 64 bits, and fewer columns fit one of 32. */
    if (columns > SIZE_MAX / 65536u) {
        return 0;
    }
    return lay_out(m, columns).total;
}

void edgecomp_context_walk_start(struct context_walk *w, const struct context_model *m,
                                 const struct context_kernels *kernels, size_t columns, uint8_t *workspace)
{
    const struct parts p = lay_out(m, columns);
    uint8_t *base = workspace;

    base += context_aligned((uintptr_t)base) - (uintptr_t)base;
    w->model = m;
    w->kernels = kernels;
    w->columns = columns;
    w->ring = m->reach + 1;
    w->entries = (void *)(base + p.entries);
    w->entry_counts = (void *)(base + p.entry_counts);
    w->sums0 = (void *)(base + p.sums0);
    w->sums1 = (void *)(base + p.sums1);
    w->outputs = (void *)(base + p.outputs);
    w->linear = (void *)(base + p.linear);
    w->active0 = (void *)(base + p.active0);
    w->active1 = (void *)(base + p.active1);
    w->symbols = base + p.symbols;
    memset(w->entry_counts, 0, w->ring * columns * sizeof(uint16_t));
    memset(w->linear, 0, m->groups * CONTEXT_GROUP * sizeof(int32_t));
}

static struct context_entry *entries_at(const struct context_walk *w, size_t y, size_t x)
{
    return w->entries + ((y % w->ring) * w->columns + x) * w->model->channels;
}

static size_t count_at(const struct context_walk *w, size_t y, size_t x)
{
    return w->entry_counts[(y % w->ring) * w->columns + x];
}

/* What the symbols at one neighbouring position add. */
static void add_neighbour(struct context_walk *w, size_t tap, size_t y, size_t x)
{
    const struct context_model *m = w->model;
    const struct context_entry *e = entries_at(w, y, x);
    const size_t count = count_at(w, y, x);
    const int32_t *linear = m->linear + tap * m->channels;
    size_t i;

    w->kernels->add_rows(w->sums0, m->width, m->rows + tap * m->channels * 2 * m->width, e, count);
    for (i = 0; i < count; i++) {
        w->linear[e[i].place] += linear[e[i].place] * e[i].value;
    }
}

void edgecomp_context_position(struct context_walk *w, size_t y, size_t x)
{
    const struct context_model *m = w->model;
    const size_t reach = m->reach;
    size_t tap = 0, dy, dx;

    memcpy(w->sums0, m->bias0, m->width * sizeof(int32_t));
    memset(w->linear, 0, m->channels * sizeof(int32_t));
    for (dy = reach; dy > 0; dy--) {
        for (dx = 0; dx <= 2 * reach; dx++, tap++) {
            if (y >= dy && x + dx >= reach && x + dx - reach < w->columns) {
                add_neighbour(w, tap, y - dy, x + dx - reach);
            }
        }
    }
    for (dx = reach; dx > 0; dx--, tap++) {
        if (x >= dx) {
            add_neighbour(w, tap, y, x - dx);
        }
    }
    w->kernels->activate(w->active0, w->sums0, m->width, m->shift0);
    w->kernels->multiply(w->sums1, m->hidden, w->active0, m->width, m->dense, m->bias1);
    w->kernels->activate(w->active1, w->sums1, m->hidden, m->shift1);
    w->y = y;
    w->x = x;
    w->here = entries_at(w, y, x);
    w->here_count = 0;
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

void edgecomp_context_group(struct context_walk *w, size_t group)
{
    const struct context_model *m = w->model;
    const size_t outputs = 2 * CONTEXT_GROUP, first = group * CONTEXT_GROUP;
    size_t i;

    w->kernels->multiply(w->outputs, outputs, w->active1, m->hidden, m->out + group * m->hidden * outputs,
                         m->out_bias + group * outputs);
    for (i = 0; i < CONTEXT_GROUP; i++) {
        const int32_t mean = shifted(w->outputs[i] + w->linear[first + i], m->mean_shift[first + i]);
        const int32_t scale = shifted(w->outputs[CONTEXT_GROUP + i], m->scale_shift);

        w->group[i].mean = within(mean, -CONTEXT_MEAN_LIMIT, CONTEXT_MEAN_LIMIT);
        w->group[i].inverse = m->inverse[within(scale, 0, (int32_t)CONTEXT_SCALES - 1)];
    }
    w->group_start = w->here_count;
}

void edgecomp_context_group_end(struct context_walk *w)
{
    const struct context_model *m = w->model;

    if (w->here_count > w->group_start) {
        w->kernels->add_rows(w->sums1, m->hidden, m->within, w->here + w->group_start, w->here_count - w->group_start);
        w->kernels->activate(w->active1, w->sums1, m->hidden, m->shift1);
    }
    w->entry_counts[(w->y % w->ring) * w->columns + w->x] = (uint16_t)w->here_count;
}
