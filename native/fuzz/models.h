/* models.h: the models that the target decode.c has built in, with the seeds 1 to MODELS of make_parameters. */
#ifndef MODELS_H
#define MODELS_H

#include "context_parameters.h"

#define MODELS 8u

static const struct sizes models[MODELS] = {
    {1, 2, 0, 1, 32, 32},  {1, 256, 128, 2, 32, 64}, {3, 6, 2, 1, 32, 32},   {7, 6, 5, 3, 32, 32},
    {8, 33, 0, 1, 64, 32}, {9, 256, 128, 1, 32, 32}, {16, 256, 255, 1, 32, 32}, {17, 2, 1, 2, 32, 32},
};

#endif
