//! What training scripts and their libraries write, by the rules of each, from the files to the answers.

use crate::common::Project;

/// A metric as `step value`, in order.
fn metric(project: &Project, key: &str) -> Vec<String> {
    let sql = format!("select concat(step, ' ', value) from metrics where key = '{key}' order by step");
    project.column(&sql)
}

/// Runs that are shown: source, name and starts.
fn runs(project: &Project) -> Vec<String> {
    let sql = "select concat(source, ' ', name, ' ', segment_count) from runs
        where duplicate_of is null order by source, name";
    project.column(sql)
}

fn keys(project: &Project) -> Vec<String> {
    project.column("select distinct key from metrics order by key")
}

fn config(project: &Project) -> Vec<String> {
    project.column("select concat(key, '=', value) from configs order by run_id, key")
}

fn axis(project: &Project, key: &str) -> String {
    project.column(&format!("select distinct axis from summary where key = '{key}'")).join(",")
}

/// DeepSpeed: a file for each tag, a header at each start, samples in the place of steps.
#[test]
fn tables_of_a_deepspeed_job_are_one_run() {
    let project = Project::empty();
    project.write("csv/job/Train_Samples_train_loss.csv", "step,train_loss\n32,2.5\n64,2.0\n");
    project.write("csv/job/Train_Samples_lr.csv", "step,lr\n32,0.1\n64,0.1\n");
    project
        .write("csv/job/Train_Samples_elapsed_time_ms_forward.csv", "step,elapsed_time_ms_forward\n32,7\n");
    project.refresh();
    assert_eq!(runs(&project), ["csv job 1"]);
    let wanted = ["Train/Samples/elapsed_time_ms_forward", "Train/Samples/lr", "Train/Samples/train_loss"];
    assert_eq!(keys(&project), wanted);
    assert_eq!(axis(&project, "Train/Samples/train_loss"), "samples");
    // A second start, from a checkpoint.
    project.append("csv/job/Train_Samples_train_loss.csv", "step,train_loss\n64,1.75\n96,1.5\n");
    project.append("csv/job/Train_Samples_lr.csv", "step,lr\n64,0.05\n96,0.05\n");
    project.refresh();
    assert_eq!(runs(&project), ["csv job 2"]);
    assert_eq!(metric(&project, "Train/Samples/train_loss"), ["32 2.5", "64 1.75", "96 1.5"]);
    assert_eq!(metric(&project, "Train/Samples/lr"), ["32 0.1", "64 0.05", "96 0.05"]);
}

/// Ray Tune: the same trial as lines of JSON and as a table; configuration in every line.
#[test]
fn a_trial_of_ray_tune_is_shown_once() {
    let project = Project::empty();
    let trial = "results/PPO/PPO_Cart_1_0_lr=0.1";
    let row = |i: i64, reward: f64| {
        format!(
            "{{\"episode_reward_mean\": {reward}, \"training_iteration\": {i}, \"trial_id\": \"a_0\", \"experiment_id\": \"ff\", \"date\": \"2026-01-02_03-04-0{i}\", \"timestamp\": 176732304{i}, \"done\": false, \"info\": {{\"learner\": {{\"loss\": {}}}}}, \"config\": {{\"lr\": 0.1, \"model\": {{\"dim\": 8, \"act\": \"{}\"}}}}}}\n",
            1.0 / i as f64,
            "relu".repeat(200)
        )
    };
    project.write(&format!("{trial}/result.json"), format!("{}{}", row(1, 20.5), row(2, 31.25)));
    project.write(
        &format!("{trial}/progress.csv"),
        "episode_reward_mean,training_iteration,trial_id,experiment_id,info/learner/loss\n20.5,1,a_0,ff,1.0\n31.25,2,a_0,ff,0.5\n",
    );
    project.write(&format!("{trial}/params.json"), "{\"lr\": 0.1, \"seed\": 3}");
    project.refresh();
    assert_eq!(runs(&project), ["jsonl PPO_Cart_1_0_lr=0.1 1"]);
    let shown = "from metrics m join runs r using (run_id) where r.duplicate_of is null";
    let of = |key: &str| {
        project
            .column(&format!("select concat(m.step, ' ', m.value) {shown} and key = '{key}' order by m.step"))
    };
    assert_eq!(of("episode_reward_mean"), ["1 20.5", "2 31.25"]);
    assert_eq!(of("info.learner.loss"), ["1 1.0", "2 0.5"]);
    let config = "select concat(key, '=', number) from configs c join runs r using (run_id)
        where r.duplicate_of is null and number is not null order by key";
    assert_eq!(project.column(config), ["lr=0.1", "model.dim=8.0", "seed=3.0"]);
    project.append(&format!("{trial}/result.json"), row(3, 40.0));
    project.refresh();
    assert_eq!(of("episode_reward_mean").len(), 3);
}

/// Stable-Baselines3: what its logger and its environments write.
#[test]
fn logs_of_stable_baselines() {
    let project = Project::empty();
    project.write(
        "ppo/progress.csv",
        "rollout/ep_rew_mean,time/iterations,time/total_timesteps,train/loss\n21.5,1,2048,\n30.25,2,4096,7.5\n41.0,3,6144,5.25\n",
    );
    project.write(
        "ppo/progress.json",
        "{\"rollout/ep_rew_mean\": 21.5, \"time/total_timesteps\": 2048}\n{\"rollout/ep_rew_mean\": 30.25, \"time/total_timesteps\": 4096, \"train/loss\": 7.5}\n{\"rollout/ep_rew_mean\": 41.0, \"time/total_timesteps\": 6144, \"train/loss\": 5.25}\n",
    );
    project.write(
        "ppo/env/monitor.csv",
        "#{\"t_start\": 1767323045.25, \"env_id\": \"CartPole-v1\"}\nr,l,t\n18.0,18,0.5\n31.0,31,0.9\n",
    );
    project.refresh();
    assert_eq!(runs(&project), ["csv env 1", "jsonl ppo 1"]);
    let table = "select concat(step, ' ', value) from metrics m join runs r using (run_id)
        where key = 'rollout/ep_rew_mean' and r.source = 'csv' order by step";
    assert_eq!(project.column(table), ["2048 21.5", "4096 30.25", "6144 41.0"]);
    assert_eq!(metric(&project, "r"), ["0 18.0", "1 31.0"]);
    assert_eq!(axis(&project, "r"), "index");
    assert_eq!(config(&project), ["env_id=CartPole-v1"]);
    let started = "select created_at from runs where name = 'env'";
    assert_eq!(project.column(started), ["2026-01-02T03:04:05.250Z"]);
}

/// Environments of Stable-Baselines3 side by side write a file each: they are one run.
#[test]
fn environments_of_one_job_are_one_run() {
    let project = Project::empty();
    let header = |at: &str| format!("#{{\"t_start\": {at}, \"env_id\": \"CartPole-v1\"}}\nr,l,t\n");
    project.write("ppo/1.monitor.csv", header("1767323046.5") + "31.0,31,0.9\n");
    project.refresh();
    project.write("ppo/0.monitor.csv", header("1767323045.25") + "18.0,18,0.5\n");
    project.append("ppo/1.monitor.csv", "40.0,40,1.5\n");
    project.refresh();
    assert_eq!(runs(&project), ["csv ppo 1"]);
    assert_eq!(metric(&project, "r"), ["0 18.0"]);
    assert_eq!(metric(&project, "rank1/r"), ["0 31.0", "1 40.0"]);
    assert_eq!(config(&project), ["env_id=CartPole-v1"]);
    assert_eq!(project.column("select created_at from runs"), ["2026-01-02T03:04:05.250Z"]);
}

/// detectron2: lines of JSON by iteration; a resumed training says some of them again.
#[test]
fn metrics_of_detectron2() {
    let project = Project::empty();
    let row = |i: i64, loss: f64| {
        format!("{{\"data_time\": 0.1, \"iteration\": {i}, \"lr\": 0.01, \"total_loss\": {loss}}}\n")
    };
    let bbox = "{\"bbox/AP\": 31.5, \"iteration\": 39}\n";
    project.write("output/metrics.json", [row(19, 2.5), row(39, 2.25), bbox.into(), row(59, 2.125)].concat());
    project.refresh();
    assert_eq!(runs(&project), ["jsonl output 1"]);
    project.append("output/metrics.json", [row(39, 2.0), row(59, 1.75)].concat());
    project.refresh();
    assert_eq!(runs(&project), ["jsonl output 2"]);
    assert_eq!(metric(&project, "total_loss"), ["19 2.5", "39 2.0", "59 1.75"]);
    assert_eq!(metric(&project, "bbox/AP"), ["39 31.5"]);
}

#[test]
fn summaries_of_timm() {
    let project = Project::empty();
    project.write(
        "output/train/r50/summary.csv",
        "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n0,6.5,6.25,1.5,5.25,0.05\n1,5.5,5.0,7.75,20.5,0.1\n",
    );
    project.write("output/train/r50/args.yaml", "model: resnet50\nopt_betas: null\nlr: 0.1\nsched: cosine\n");
    project.refresh();
    assert_eq!(runs(&project), ["csv r50 1"]);
    assert_eq!(metric(&project, "eval_top1"), ["0 1.5", "1 7.75"]);
    assert_eq!(axis(&project, "eval_top1"), "epoch");
    assert_eq!(config(&project), ["lr=0.1", "model=resnet50", "opt_betas=null", "sched=cosine"]);
}

/// fastai: `append` says the header again and counts epochs anew.
#[test]
fn histories_of_fastai() {
    let project = Project::empty();
    let header = "epoch,train_loss,valid_loss,accuracy,time\n";
    project.write("models/history.csv", format!("{header}0,0.75,0.5,0.8,00:12\n1,0.5,0.25,0.9,00:11\n"));
    project.append("models/history.csv", format!("{header}0,0.4,0.2,0.95,00:11\n"));
    project.refresh();
    assert_eq!(runs(&project), ["csv models 2"]);
    assert_eq!(keys(&project), ["accuracy", "train_loss", "valid_loss"]);
    assert_eq!(metric(&project, "accuracy"), ["0 0.95", "1 0.9"]);
}

/// YOLOv5: cells padded with spaces, epochs from 0, configuration in two files.
#[test]
fn results_of_yolov5() {
    let project = Project::empty();
    project.write(
        "runs/train/exp/results.csv",
        "               epoch,      train/box_loss,     metrics/mAP_0.5,               x/lr0\n                   0,             0.10612,                   0,              0.0701\n                   1,             0.10125,            0.000125,              0.0402\n",
    );
    project.write("runs/train/exp/opt.yaml", "weights: yolov5s.pt\nhyp:\n  lr0: 0.01\nepochs: 2\n");
    project.write("runs/train/exp/hyp.yaml", "lr0: 0.01\nmomentum: 0.937\n");
    project.refresh();
    assert_eq!(runs(&project), ["csv exp 1"]);
    assert_eq!(metric(&project, "train/box_loss"), ["0 0.10612", "1 0.10125"]);
    let wanted = ["epochs=2", "hyp.lr0=0.01", "lr0=0.01", "momentum=0.937", "weights=yolov5s.pt"];
    assert_eq!(config(&project), wanted);
}

/// LLaMA-Factory, with the configuration of its model beside it.
#[test]
fn trainer_logs_of_llama_factory() {
    let project = Project::empty();
    let row = |step: i64, loss: f64| {
        format!(
            "{{\"current_steps\": {step}, \"total_steps\": 30, \"loss\": {loss}, \"lr\": 1e-05, \"epoch\": {}, \"percentage\": 33.33, \"elapsed_time\": \"0:00:1{}\", \"remaining_time\": \"0:00:20\"}}\n",
            step as f64 / 20.0,
            step % 9
        )
    };
    project.write("saves/sft/trainer_log.jsonl", [row(10, 2.5), row(20, 2.0), row(30, 1.5)].concat());
    project.write(
        "saves/sft/config.json",
        "{\"model_type\": \"llama\", \"hidden_size\": 64, \"transformers_version\": \"4.45.0\"}",
    );
    project.refresh();
    assert_eq!(runs(&project), ["jsonl sft 1"]);
    assert_eq!(metric(&project, "loss"), ["10 2.5", "20 2.0", "30 1.5"]);
    assert_eq!(project.column("select planned_steps from runs"), ["30"]);
    let wanted = ["model.hidden_size=64", "model.model_type=llama", "model.transformers_version=4.45.0"];
    assert_eq!(config(&project), wanted);
    assert_eq!(project.column("select count(*) from texts"), ["0"]);
}

/// Lightning writes its table anew, with another header, when a metric appears: it may be seen empty,
/// and shorter than before.
#[test]
fn a_table_that_is_written_anew_with_another_column_is_followed() {
    let project = Project::empty();
    let rows = |count: i64| (0..count).map(|i| format!("0,{i},{}.5\n", 90 - i)).collect::<String>();
    let table = "lightning_logs/version_0/metrics.csv";
    project.write(table, format!("epoch,step,train_loss\n{}", rows(50)));
    project.refresh();
    let early = metric(&project, "train_loss");
    project.write(table, "");
    project.refresh();
    project.write(table, "epoch,step,train_loss,val_loss\n0,0,90.5,\n0,1,89.5,\n");
    project.refresh();
    assert_eq!(metric(&project, "train_loss"), early[..2]);
    let wide: String = rows(50).lines().map(|line| format!("{line},\n")).collect();
    let whole = format!("epoch,step,train_loss,val_loss\n{wide}0,49,,7.25\n");
    project.write(table, &whole);
    project.refresh();
    project.append(table, "0,50,1.0,\n");
    project.refresh();
    let fresh = Project::empty();
    fresh.write(table, format!("{whole}0,50,1.0,\n"));
    fresh.refresh();
    assert_eq!(metric(&project, "train_loss").len(), 51);
    assert_eq!(metric(&project, "val_loss"), ["49 7.25"]);
    for key in ["train_loss", "val_loss", "epoch"] {
        assert_eq!(metric(&project, key), metric(&fresh, key), "{key}");
    }
    assert_eq!(runs(&project), ["csv version_0 1"]);
}

/// Hydra keeps the configuration of a run in a hidden folder; logs lie beside and below it.
#[test]
fn configuration_that_hydra_keeps() {
    let project = Project::empty();
    let lines = |loss: f64| format!("{{\"step\": 1, \"loss\": {loss}}}\n{{\"step\": 2, \"loss\": 1.5}}\n");
    for (number, lr) in [(0, "0.1"), (1, "0.01")] {
        let run = format!("multirun/2026-01-02/03-04-05/{number}");
        project.write(
            &format!("{run}/.hydra/config.yaml"),
            format!("lr: {lr}\ndata: ???\nopt:\n  lr: ${{lr}}\nact: !!python/name:torch.nn.ReLU ''\n"),
        );
        project.write(&format!("{run}/.hydra/overrides.yaml"), format!("- lr={lr}\n"));
        project.write(
            &format!("{run}/.hydra/hydra.yaml"),
            format!("hydra:\n  sweep:\n    dir: x\n  job:\n    name: train\n    num: {number}\n"),
        );
        project.write(&format!("{run}/logs/run{number}.jsonl"), lines(2.5 + f64::from(number)));
    }
    project.write("plain.jsonl", lines(9.0));
    project.refresh();
    let of = |name: &str| {
        project.column(&format!(
            "select concat(key, '=', value) from configs join runs using (run_id) where name = '{name}' order by key"
        ))
    };
    let wanted = [
        "act=torch.nn.ReLU",
        "data=???",
        "hydra.job.name=train",
        "hydra.job.num=1",
        "hydra.overrides=[\"lr=0.01\"]",
        "lr=0.01",
        "opt.lr=${lr}",
    ];
    assert_eq!(of("run1"), wanted);
    assert_eq!(of("run0").len(), wanted.len());
    assert!(of("plain").is_empty());
    // A change of it is read alone.
    project.write("multirun/2026-01-02/03-04-05/1/.hydra/config.yaml", "lr: 0.5\n");
    project.refresh();
    assert_eq!(of("run1")[3], "lr=0.5");
    assert_eq!(project.refresh().read_bytes, 0);
}

/// All sources without a configuration of their own take that beside the log, and so do the Trainer
/// and MMEngine.
#[test]
fn configuration_beside_logs_of_frameworks() {
    let project = Project::of("hf_trainer");
    project.write("out/tb_clean/.hydra/config.yaml", "note: from hydra\n");
    let model = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"transformers_version\": \"5.23.0\"}";
    project.write("out/tb_clean/config.json", model);
    project.refresh();
    let of = |key: &str| {
        project.column(&format!(
            "select value from configs join runs using (run_id)
             where path = 'out/tb_clean' and key = '{key}'"
        ))
    };
    assert_eq!((of("note"), of("model.n_embd")), (vec!["from hydra".to_string()], vec!["16".to_string()]));
    let project = Project::of("mmengine");
    project.write("work_dirs/clean/.hydra/config.yaml", "note: from hydra\n");
    project.refresh();
    let of = project.column("select name from configs join runs using (run_id) where key = 'note'");
    assert_eq!(of, ["clean"]);
}

#[test]
fn of_documents_that_disagree_the_most_telling_has_the_last_word() {
    let project = Project::empty();
    project.write("run/metrics.csv", "step,loss\n0,1.5\n1,1.25\n2,1\n");
    for (name, lr) in [("config", 1), ("params", 2), ("args", 3), ("hparams", 4)] {
        project.write(&format!("run/{name}.yaml"), format!("lr: {lr}\nfrom_{name}: 1\n"));
    }
    project.refresh();
    assert_eq!(project.column("select value from configs where key = 'lr'"), ["4"]);
    assert_eq!(project.column("select count(*) from configs"), ["5"]);
}
