package sqlstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// plainPlans are the settings of the planner for statements that all find few rows by an
// index. As it comes, it reads the whole of a table that has little in it, and goes on to
// do so on a connection that has once decided it, while a service that was just announced
// gains sessions by the thousand: until statistics are gathered anew, which may take a
// minute. And it plans a statement anew each time that its arguments promise to find less
// than others would, which takes longer than to run it; as does compiling what it expects
// to be much.
// Whoever has chosen a value keeps it; a server that knows no such setting has none.
const plainPlans = `
	SELECT set_config(s.name, v.wanted, FALSE)
	FROM pg_settings s JOIN (VALUES ('seq_page_cost', '4'), ('random_page_cost', '1'), ('plan_cache_mode', 'force_generic_plan'), ('jit', 'off')) v (name, wanted) ON v.name = s.name
	WHERE s.source = 'default'`

// planPlainly prepares a connection that was just made.
func planPlainly(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, plainPlans, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("set how statements are planned: %w", err)
	}
	return nil
}
