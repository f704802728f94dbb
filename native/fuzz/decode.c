/*
 * decode.c: fuzzing target, hostile codes for the context coder. An input is a choice of model, height, width and counts,
 * one byte each, and a code. Whatever it is: the same outcome with every kernel, symbols below levels, and a volume that
 * can be coded again.
 */
#include "models.h"

#define HEAD 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct volume {
    const struct prepared *model;
    size_t height, width, total, scratch;
    uint8_t *counts, *workspace;
};

/* Prepares each model once: the targets run on one thread. */
static const struct prepared *model(unsigned which)
{
    static struct prepared kept[MODELS];

    if (kept[which].data == NULL) {
        uint8_t *file = make_parameters(models[which], which + 1);

        CHECK(prepare(file, file_of(models[which]).at[TABLES], &kept[which]) == EDGECOMP_OK);
        free(file);
    }
    return &kept[which];
}

static int decode(const struct volume *v, int kernels, const uint8_t *code, size_t size, uint8_t *symbols)
{
    return edgecomp_context_decode(v->model->data, v->model->size, code, size, v->height, v->width, v->counts, kernels,
                                   v->workspace, v->scratch, symbols, v->total);
}

static void code_again(const struct volume *v, const uint8_t *symbols, uint8_t *again)
{
    const size_t cap = 3 * v->total + 8;
    uint8_t *code = exactly(cap);
    size_t length;

    CHECK(edgecomp_context_encode(v->model->data, v->model->size, symbols, v->height, v->width, v->counts,
                                  EDGECOMP_KERNELS_AUTO, v->workspace, v->scratch, code, cap, &length) == EDGECOMP_OK);
    CHECK(decode(v, EDGECOMP_KERNELS_PORTABLE, code, length, again) == EDGECOMP_OK);
    CHECK(v->total == 0 || memcmp(symbols, again, v->total) == 0);
    free(code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sizes *sizes;
    struct volume v;
    uint8_t *code, *symbols, *again;
    size_t i;
    int status;

    if (size < HEAD) {
        return 0;
    }
    sizes = &models[data[0] % MODELS];
    v.model = model(data[0] % MODELS);
    v.height = data[1] % 9;
    v.width = data[2] % 9;
    v.total = sizes->channels * v.height * v.width;
    v.counts = data[3] != 0 ? exactly(v.height * v.width) : NULL;
    for (i = 0; v.counts != NULL && i < v.height * v.width; i++) {
        v.counts[i] = (uint8_t)((i * 7 + data[3]) % (sizes->channels + 1));
    }
    CHECK(edgecomp_context_workspace(v.model->data, v.model->size, v.width, &v.scratch) == EDGECOMP_OK);
    v.workspace = exactly(v.scratch);
    symbols = exactly(v.total);
    again = exactly(v.total);
    code = exactly(size - HEAD);
    if (size > HEAD) {
        memcpy(code, data + HEAD, size - HEAD);
    }

    status = decode(&v, EDGECOMP_KERNELS_PORTABLE, code, size - HEAD, symbols);
    CHECK(status == EDGECOMP_OK || status == EDGECOMP_CORRUPT_DATA);
    CHECK(decode(&v, EDGECOMP_KERNELS_AUTO, code, size - HEAD, again) == status);
    if (status == EDGECOMP_OK) {
        CHECK(v.total == 0 || memcmp(symbols, again, v.total) == 0);
        for (i = 0; i < v.total; i++) {
            CHECK(symbols[i] < sizes->levels);
        }
        code_again(&v, symbols, again);
    }
    free(v.counts);
    free(v.workspace);
    free(symbols);
    free(again);
    free(code);
    return 0;
}
