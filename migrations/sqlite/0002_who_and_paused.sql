-- The author of each operator's command, and the pause of a participant.
--
-- The program before this version inserts rows without these columns: their defaults are right for such rows.

-- The operator who gave the command. All were given at the coordinator's own machine before: local.
ALTER TABLE operator_log ADD COLUMN who TEXT NOT NULL DEFAULT 'local';

-- 1: an operator has paused the participant. A registration does not change this.
ALTER TABLE participant_info ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
