# `make` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help build test check format bench demo digits

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-8s %s\n", $$1, $$2}'

build: ## build the extension and install it into the environment of uv
	uv sync --inexact

test: ## all tests, Python and Rust
	uv run --group dev pytest
	cargo test --package spikesim-core

check: ## formatting, lints, types, stubs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	uv run --group dev ruff check
	uv run --group dev ruff format --check
	uv run --group dev mypy --strict
	uv run --group dev python -m mypy.stubtest spikesim._core

format: ## format Rust and Python
	cargo fmt --all
	uv run --group dev ruff check --fix
	uv run --group dev ruff format

bench: ## the scenarios of bench/ against what is installed
	uv run --group bench python bench/run.py

demo: ## the main job on the embedded model
	uv run spikesim demo

digits: ## make the embedded model and images again
	uv run --group dev python -m spikesim.data.make_digits
