// Package trace keeps the story of the ways: what a peer has tried, what came of it and what has changed, one [Step] each. A peer owns one [Log] and
// adds to it as things happen; readers follow it from as far back as it reaches. Use [New], [Log.Add] and [Log.Follow].
//
// A Log holds the latest [Size] events and never waits for a reader. What a reader has missed, because it was slow or because it came
// late, it is told as one event [Lost] with the number of them: nothing falls off in silence. What others can cause as often as they like is added by
// [Log.AddCaused] or [Log.AddWithin], which let only some of it in, so that nobody can push the story out.
//
// An event has names of users, ids of devices, addresses and errors in it. It never has a text of a message, a key, a password or a
// token: there is no field for one, and texts of others are cleaned and cut by Add.
package trace
