#include "core/log.h"
int main() { vl8::init_log(); return 0; }
