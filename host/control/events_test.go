package control

import (
	"reflect"
	"testing"
	"time"

	"github.com/pluginhost/host/host/observe"
	"github.com/pluginhost/host/sdk/wire"
)

// What is asked and answered about events arrives as it was sent.
func TestEventCalls(t *testing.T) {
	id, other := wire.NewID(), wire.NewID()
	at := time.Now().UTC()
	oops := &wire.Error{Code: wire.Unavailable, Reason: "crashed", Message: "it ended", Retryable: true, Instance: "b"}
	story := Story{Event: id,
		Entries: []observe.Entry{{Seq: 1, Time: at, Step: observe.Emitted, Event: id, Type: "a.said", Correlation: other, Causation: other}},
		Waiting: []observe.Waiting{{Event: id, Type: "a.said", Route: "r", Instance: "b", State: "queued", Attempt: 2, Elapsed: time.Second, Why: "waits"}}}
	dead := DeadList{Forgotten: 3, Dead: []observe.Dead{{Event: id, Type: "a.said", Route: "r", Time: at, Err: oops,
		Attempts: []observe.Attempt{{Attempt: 1, Time: at, Err: oops}}}}}
	var settled SettleRequest
	var asked StoryRequest
	var replayed ReplayRequest
	path, _ := serve(t, &fake{dead: dead,
		settle: func(s SettleRequest) error {
			settled = s
			return &wire.Error{Code: wire.NotFound, Reason: wire.ReasonUnknownToken, Message: "no"}
		},
		story: func(s StoryRequest) (Story, error) { asked = s; return story, nil },
		replay: func(r ReplayRequest) ([]observe.Replayed, error) {
			replayed = r
			return []observe.Replayed{{Event: id, Route: "r"}, {Event: other, Route: "s", Err: oops}}, nil
		},
	})
	c, err := Dial("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	err = c.Settle(t.Context(), SettleRequest{Token: "T", Value: []byte("{}"), Err: oops})
	same("the refusal", err, error(&wire.Error{Code: wire.NotFound, Reason: wire.ReasonUnknownToken, Message: "no"}))
	same("the settle", settled, SettleRequest{Token: "T", Value: []byte("{}"), Err: oops})
	got, err := c.Story(t.Context(), StoryRequest{Event: id, Subject: "s", LastFailure: true})
	same("the story", got, story)
	same("the question", asked, StoryRequest{Event: id, Subject: "s", LastFailure: true})
	list, err2 := c.Dead(t.Context())
	same("the dead", list, dead)
	done, err3 := c.Replay(t.Context(), ReplayRequest{Events: []wire.ID{id, other}, Route: "r", All: true})
	same("the replay", replayed, ReplayRequest{Events: []wire.ID{id, other}, Route: "r", All: true})
	same("the replayed", done, []observe.Replayed{{Event: id, Route: "r"}, {Event: other, Route: "s", Err: oops}})
	if err != nil || err2 != nil || err3 != nil {
		t.Error(err, err2, err3)
	}
}
