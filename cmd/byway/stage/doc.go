// Package stage runs the two programs as people and operators do, for tests that look at them from outside: it builds them, starts them in an
// environment of their own, reads their output as it comes, and ends them with the test. It makes network namespaces, networks with faults and small disks for them too.
// Begin with Build, Serve and NewPerson; whatever must happen is awaited for Patience at most.
package stage
