// The LAPACK routines behind eigen.cpp, which OpenBLAS brings; none of them needs a Fortran runtime. Column-major. Each character argument
// has a hidden length at the end, as gfortran passes it.
#pragma once

#include <cblas.h>

#include <cstddef>

extern "C" {
void dlatrd_(const char* uplo, const blasint* n, const blasint* nb, double* a, const blasint* lda, double* e, double* tau, double* w,
             const blasint* ldw, size_t);
void dsytd2_(const char* uplo, const blasint* n, double* a, const blasint* lda, double* d, double* e, double* tau, blasint* info, size_t);
void dstedc_(const char* compz, const blasint* n, double* d, double* e, double* z, const blasint* ldz, double* work, const blasint* lwork,
             blasint* iwork, const blasint* liwork, blasint* info, size_t);
void dlarft_(const char* direct, const char* storev, const blasint* n, const blasint* k, const double* v, const blasint* ldv,
             const double* tau, double* t, const blasint* ldt, size_t, size_t);
void dlarfb_(const char* side, const char* trans, const char* direct, const char* storev, const blasint* m, const blasint* n,
             const blasint* k, const double* v, const blasint* ldv, const double* t, const blasint* ldt, double* c, const blasint* ldc,
             double* work, const blasint* ldwork, size_t, size_t, size_t, size_t);
}
