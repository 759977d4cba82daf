# make demo   set up, build, and answer about the bundled pictures
# make test   set up, build, and run every test
# make build  the program, at build/release/vl8
.PHONY: demo test build setup check format clean
JOBS ?= $(shell nproc)

setup:
	@tools/setup.sh build

build: setup
	@cmake --preset release > /dev/null
	@cmake --build --preset release -j $(JOBS) --target vl8

demo: build
	@tools/demo.sh

test:
	@tools/setup.sh build test
	@tools/test.sh

check:
	@tools/check.sh

format:
	@git ls-files '*.cpp' '*.h' '*.inl' '*.cu' '*.cuh' | xargs clang-format-19 -i

clean:
	@rm -rf build
