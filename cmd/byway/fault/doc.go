// Package fault takes away what the two programs stand on, while they work, and counts what that costs: it kills them, cuts the power of their
// disks, has system calls fail, fills disks, flips bits, and loses, doubles, reorders and resets what passes between them. Every message is in
// a ledger, and every scenario ends with the same four numbers, which must be zero: accepted and never shown, shown twice, out of order,
// shown and never sent. Each has a control, or names the one that serves it: either the fault is one that nothing can survive, such as a disk that
// lies, and then the numbers must not be zero; or what the scenario relies on is asked whether it has happened and was counted.
//
// `make fault` runs the short form, `make fault-long` the long one. They need root, for they run in namespaces of their own: whatever they
// mount, start or configure is gone with their last process. Without root, or without a tool that .ci/run installs, they fail. What the kernel
// under them does not allow is skipped, and the last line says how many ran and what was skipped for want of what.
package fault
