//! The windows of a node, and a person's hands at them.
//!
//! A display is an X server without a screen (Xvfb) in a container that joins the host, as its nodes
//! do. The agent reaches it by its socket in the abstract namespace (unix(7)), which belongs to the
//! network namespace: no file is shared, and nothing of it is on the wire. No window manager runs,
//! so the agent gives windows the focus itself.

mod keyboard;
mod picture;
mod server;
mod windows;

mod act;

pub(super) use act::act;
