// The MPI bridge of bipft: every MPI handle stays behind it.
#pragma once
