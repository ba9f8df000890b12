// Package settle tells when something that was written has reached every Envoy. It tells it by time: a write is given a
// while from the moment at which this process could first see it. It is pure.
package settle

import "time"

// AnnouncedLimit is how long something that the API server asks about may be in coming: others that it asks as well may
// refuse. What has not come by then is taken for refused.
const AnnouncedLimit = 15 * time.Second

// FirstSeen is when the process that decides first saw objects as they are now, except for what it wrote itself without
// delay. The times in the objects may come from another clock, or from long before they were written. It lies ahead
// where the mesh may learn of an object later than that process did. Zero means long ago.
type FirstSeen struct {
	// RoutesSince is about the object that holds our routes.
	RoutesSince time.Time `json:"routesSince,omitzero"`
	// RuleSince is about the object that holds our subsets.
	RuleSince time.Time `json:"ruleSince,omitzero"`
	// OtherRulesSince is about the objects of others that hold subsets, all together.
	OtherRulesSince time.Time `json:"otherRulesSince,omitzero"`
}

// Settlement is what is known, at one instant, of how far the mesh has come.
type Settlement struct {
	// Now is that instant.
	Now time.Time
	// Settle is how long a write is given to reach every Envoy.
	Settle time.Duration
	FirstSeen
}

// Left is how much longer something takes.
type Left time.Duration

// Over reports whether nothing is left.
func (l Left) Over() bool { return l <= 0 }

// Past is a time that was recorded, or now where another clock has put it into the future.
func (s Settlement) Past(recorded time.Time) time.Time {
	if recorded.After(s.Now) {
		return s.Now
	}
	return recorded
}

// Routes is how much longer routes take that were written then.
func (s Settlement) Routes(written time.Time) Left { return s.left(Latest(written, s.RoutesSince)) }

// Subsets is how much longer subsets take that were written, or marked, then.
func (s Settlement) Subsets(written time.Time) Left { return s.left(Latest(written, s.RuleSince)) }

// Endpoints is how much longer endpoints take that became ready then.
func (s Settlement) Endpoints(ready time.Time) Left { return s.left(ready) }

// OtherRules is how much longer the subsets of others take as they are now.
func (s Settlement) OtherRules() Left { return s.left(s.OtherRulesSince) }

// Announced is how much longer something may be in coming that was announced then, and recorded in the routes. The
// announcement counts from when it was seen where another replica recorded it, whose clock may be behind.
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
