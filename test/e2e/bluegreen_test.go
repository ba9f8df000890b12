package e2e

import "testing"

// Blue-green: the candidate gets nothing, then everything, then nothing again, each with one annotation. Both versions
// keep running.
func TestBlueGreenThereAndBack(t *testing.T) {
	s, _ := startWeb(t)
	blue := s.pods("web-v1")

	s.Apply(web("web-v2", "strategy: blue-green"))
	s.Programmed("web-v2", "blue-green inactive for web")
	s.Served(split{"v1": 100})
	green := s.pods("web-v2")

	s.Annotate("web-v2", "active=true")
	s.Programmed("web-v2", "blue-green active for web")
	s.Served(split{"v2": 100})

	s.Annotate("web-v2", "active=false")
	s.Programmed("web-v2", "blue-green inactive for web")
	s.Served(split{"v1": 100})

	s.untouched("web-v1", blue)
	s.untouched("web-v2", green)
}
