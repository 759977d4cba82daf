// Fibers, barriers and warp exchanges. One host thread; a fiber runs until it waits for others.
#include "cuda/emulate/emulate.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

namespace vl8::emulate {

Index thread_index, block_index, block_size, grid_size;

namespace {

constexpr size_t kStackBytes = size_t(128) << 10;
constexpr size_t kSharedBytes = size_t(256) << 10;

struct Fiber {
  void* sp = nullptr;
  char* stack = nullptr;
  Index index;
  bool done = false;
};
struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};
struct Warp {
  int arrived = 0, alive = 0;
  unsigned generation = 0;
  char slots[2][32][64];
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
Barrier whole;
std::map<int, Barrier> named;
int alive = 0, current = 0;
void* scheduler_sp = nullptr;
const std::function<void()>* body_now = nullptr;
alignas(1024) char shared_memory[kSharedBytes];

}  // namespace

// Saves the callee-saved registers on the stack, stores its pointer, and goes on with another stack (System V x86-64).
extern "C" void vl8_emulate_switch(void** save, void* load);
asm(R"(
.text
.globl vl8_emulate_switch
.type vl8_emulate_switch,@function
vl8_emulate_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

void yield() { vl8_emulate_switch(&fibers[size_t(current)].sp, scheduler_sp); }

namespace {

void release(Barrier& b, int members) {
  if (members > 0 && b.arrived == members) b.arrived = 0, ++b.generation;
}
void release(Warp& w) {
  if (w.alive > 0 && w.arrived == w.alive) w.arrived = 0, ++w.generation;
}

void fiber_main() {
  (*body_now)();
  Fiber& f = fibers[size_t(current)];
  f.done = true;
  --alive;
  release(whole, alive);
  Warp& w = warps[size_t(current) / 32];
  --w.alive;
  release(w);
  yield();
  std::abort();  // a finished fiber is never resumed
}

void start(Fiber& f) {
  if (!f.stack) {
    void* p = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) std::abort();
    f.stack = static_cast<char*>(p);
  }
  void** top = reinterpret_cast<void**>(f.stack + kStackBytes);
  *--top = nullptr;  // keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.sp = top, f.done = false;
}

void run_block(unsigned threads) {
  alive = int(threads), whole = {};
  named.clear();
  for (Warp& w : warps) w.arrived = w.alive = 0;
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& f = fibers[i];
    f.index = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
    start(f);
    ++warps[i / 32].alive;
  }
  for (unsigned long rounds = 0; alive > 0; ++rounds) {
    if (rounds > 50'000'000) std::fprintf(stderr, "emulated block does not end: a barrier is not reached by all\n"), std::abort();
    for (unsigned i = 0; i < threads; ++i) {
      if (fibers[i].done) continue;
      current = int(i), thread_index = fibers[i].index;
      vl8_emulate_switch(&scheduler_sp, fibers[i].sp);
    }
  }
}

}  // namespace

void run(dim3 grid, dim3 block, int shared_bytes, const std::function<void()>& body) {
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || shared_bytes > 227 * 1024 || grid.y > 65535 || grid.z > 65535 || grid.x == 0 || grid.y == 0 || grid.z == 0) {
    std::fprintf(stderr, "launch of %u x %u x %u blocks of %u threads with %d bytes is not possible\n", grid.x, grid.y, grid.z, threads,
                 shared_bytes);
    std::abort();
  }
  if (fibers.size() < threads) fibers.resize(threads), warps.resize((threads + 31) / 32);
  block_size = {block.x, block.y, block.z}, grid_size = {grid.x, grid.y, grid.z};
  body_now = &body;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        block_index = {x, y, z};
        std::memset(shared_memory, 0xff, size_t(shared_bytes));  // NaN: nothing may rely on what was there
        run_block(threads);
      }
}

void block_barrier() {
  const unsigned before = whole.generation;
  ++whole.arrived;
  release(whole, alive);
  while (whole.generation == before) yield();
}

void named_barrier(int id, int threads) {
  Barrier& b = named[id];
  const unsigned before = b.generation;
  ++b.arrived;
  release(b, threads);
  while (b.generation == before) yield();
}

const char (*exchange(const void* value, size_t bytes))[64] {
  Warp& w = warps[size_t(current) / 32];
  const unsigned before = w.generation;
  std::memcpy(w.slots[before % 2][current % 32], value, bytes);
  ++w.arrived;
  release(w);
  while (w.generation == before) yield();
  return w.slots[before % 2];
}

void* dynamic_shared() { return shared_memory; }

}  // namespace vl8::emulate
