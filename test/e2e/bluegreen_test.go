package e2e

import "testing"

// Blue-green: nothing, then everything, then nothing again, each with one annotation; both versions stay warm.
func TestBlueGreenThereAndBack(t *testing.T) {
	s, _ := startWeb(t)
	blue := s.pods("web-v1")

	s.apply(web("web-v2", "strategy: blue-green"))
	s.programmed("web-v2", "blue-green inactive for web")
	s.served(split{"v1": 100})
	green := s.pods("web-v2")

	s.annotate("web-v2", "active=true")
	s.programmed("web-v2", "blue-green active for web")
	s.served(split{"v2": 100})

	s.annotate("web-v2", "active=false")
	s.programmed("web-v2", "blue-green inactive for web")
	s.served(split{"v1": 100})

	s.untouched("web-v1", blue)
	s.untouched("web-v2", green)
}
