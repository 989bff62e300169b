import COpenBLAS

/// Keeps OpenBLAS, which fits in double precision use, on the calling thread. Call once at start.
public func useSingleThreadedBLAS() { openblas_set_num_threads(1) }
