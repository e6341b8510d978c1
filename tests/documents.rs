//! What the documents state is true as far as a program can tell: the tests that they name exist, the
//! limits and defaults are those of the program, and links between documents lead somewhere.

#[path = "documents/conformance.rs"]
mod conformance;
#[path = "documents/links.rs"]
mod links;
#[path = "documents/markdown.rs"]
mod markdown;
#[path = "documents/specification.rs"]
mod specification;
#[path = "documents/toolchain.rs"]
mod toolchain;
