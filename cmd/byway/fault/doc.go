// Package fault takes away what the two programs stand on, while they work, and counts what that costs: it kills them, cuts the power of their
// disks, has system calls fail, fills disks, flips bits, and loses, doubles, reorders and resets what passes between them. Every message is in
// a ledger, and every scenario ends with the same four numbers, which must be zero: accepted and never shown, shown twice, out of order,
// shown and never sent. Each has a control in which the fault is one that nothing can survive, such as a disk that lies: there the
// numbers must not be zero, or the scenario would prove nothing.
//
// `make fault` runs the short form, `make fault-long` the long one. They need root, for they run in namespaces of their own: whatever they
// mount, start or configure is gone with their last process.
package fault
