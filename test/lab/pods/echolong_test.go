package pods

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// who fails the test unless the line introduces the fixture's Pod.
func who(t *testing.T, line string, err error) {
	t.Helper()
	if pod, version, ok := ParseGreeting(line); err != nil || !ok || pod != "web-1" || version != "" {
		t.Errorf("the Pod says %q, error %v", line, err)
	}
}

func TestEchoGRPC(t *testing.T) {
	f := newEcho(t, behaviour{})
	conn, err := grpc.NewClient("passthrough:///"+f.base, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := &wrapperspb.StringValue{}
	err = conn.Invoke(t.Context(), UnaryMethod, wrapperspb.String("ping"), answer)
	who(t, answer.GetValue(), err)

	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, StreamMethod)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.SendMsg(wrapperspb.String("ping")); err != nil {
			t.Fatal(err)
		}
		answer := &wrapperspb.StringValue{}
		err := stream.RecvMsg(answer)
		who(t, answer.GetValue(), err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(answer); err != io.EOF {
		t.Errorf("the stream ends with %v, want EOF", err)
	}
}

// A Pod that stops closes its WebSockets: nobody is left who would serve them.
func TestEchoWebSocket(t *testing.T) {
	f := newEcho(t, behaviour{})
	conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+f.base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		if err := conn.WriteMessage(websocket.TextMessage, []byte("ping")); err != nil {
			t.Fatal(err)
		}
		_, answer, err := conn.ReadMessage()
		who(t, string(answer), err)
	}
	f.app.stop(time.Second)
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsUnexpectedCloseError(err) {
		t.Errorf("after the end: %v, want a closed connection", err)
	}
}

func TestEchoAnswerWithoutEnd(t *testing.T) {
	f := newEcho(t, behaviour{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.base+"/?"+EveryQuery+"=10ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for range 3 {
		line, err := lines.ReadString('\n')
		who(t, line, err)
	}
}
