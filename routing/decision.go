package routing

// Decision is what to do now for one Service, and what to report once that is done.
type Decision struct {
	Plan
	Report
}

// Decide makes the plan for one Service and its report.
func Decide(f Facts, s Settings) Decision {
	p := MakePlan(f, s)
	return Decision{p, p.MakeReport()}
}

// OnlyRoutes is the part of the decision that moves traffic, for a caller that cannot wait for the rest.
func (d Decision) OnlyRoutes() Decision {
	out := Decision{Report: Report{Events: d.Events}}
	if w, ok := d.Find(Apply, Routes); ok {
		out.Writes = []Write{w}
	}
	return out
}
