#include "bit_kernels.h"
