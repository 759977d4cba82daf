// Ids of tokens: non-negative, below the rows of the embedding.
#pragma once
#include <cstdint>

namespace vl8 {
using TokenId = int32_t;
}
