// Package settle says when something that was written has reached every Envoy. It decides by time: a write gets a fixed
// while, counted from when this process could first see it. The package is pure.
package settle

import "time"

// AnnouncedLimit is how long a change may take to happen after the API server asked about it: other webhooks may refuse
// it. A change that has not happened by then counts as refused.
const AnnouncedLimit = 15 * time.Second

// FirstSeen is when the deciding process first saw objects as they are now. An object that it wrote itself, without
// delay, counts as seen long ago. The times in the objects do not say this: they may come from another clock, or from
// long before the write. A time lies in the future if the mesh may learn of an object later than the process did. Zero
// means long ago.
type FirstSeen struct {
	// RoutesSince is for the object that holds our routes.
	RoutesSince time.Time `json:"routesSince,omitzero"`
	// RuleSince is for the object that holds our subsets.
	RuleSince time.Time `json:"ruleSince,omitzero"`
	// OtherRulesSince is for all objects of others that hold subsets, together.
	OtherRulesSince time.Time `json:"otherRulesSince,omitzero"`
}

// Settlement is what is known, at one instant, about how far writes have reached.
type Settlement struct {
	// Now is that instant.
	Now time.Time
	// Settle is how long a write gets to reach every Envoy.
	Settle time.Duration
	FirstSeen
}

// Left is how much longer something takes.
type Left time.Duration

// Over reports whether nothing is left.
func (l Left) Over() bool { return l <= 0 }

// Past is the recorded time, or now if another clock put it into the future.
func (s Settlement) Past(recorded time.Time) time.Time {
	if recorded.After(s.Now) {
		return s.Now
	}
	return recorded
}

// Routes is how much longer routes take that were written at that time.
func (s Settlement) Routes(written time.Time) Left { return s.left(Latest(written, s.RoutesSince)) }

// Subsets is how much longer subsets take that were written, or marked, at that time.
func (s Settlement) Subsets(written time.Time) Left { return s.left(Latest(written, s.RuleSince)) }

// Endpoints is how much longer endpoints take that became ready at that time.
func (s Settlement) Endpoints(ready time.Time) Left { return s.left(ready) }

// OtherRules is how much longer the current subsets of others take.
func (s Settlement) OtherRules() Left { return s.left(s.OtherRulesSince) }

// Announced is how much longer an announced change may still happen. Its time was recorded in the routes, perhaps by
// another replica with a slow clock, so it counts from when this process first saw the routes if that is later.
func (s Settlement) Announced(recorded time.Time) Left {
	return Left(Latest(recorded, s.RoutesSince).Add(AnnouncedLimit).Sub(s.Now))
}

func (s Settlement) left(since time.Time) Left { return Left(since.Add(s.Settle).Sub(s.Now)) }

// Latest is the latest of the times.
func Latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
