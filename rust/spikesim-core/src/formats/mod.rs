//! Bytes to graphs and back.
